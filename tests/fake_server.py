"""An OpenAI-compatible server of our own that answers by rule and misbehaves on command.

Its replies depend on messages, sampling and seed alone. Run as a script it is a process that can be killed:

    python fake_server.py PORT LOG
"""

import hashlib
import json
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from engines_for_tests import GOOD, in_parts


@dataclass
class Manner:
    """How the server is: what it knows, and the key that it wants."""

    model: str = "fake"
    key: str = ""
    seed: bool = True
    strict: bool = False
    """Refuse every field that OpenAI does not know."""
    schema: str = "full"
    """``full``, ``plain`` (refuses patterns and lengths) or empty (ignores it)."""
    grammar: str = ""
    """The field that it reads a grammar from."""
    scores: int = 20
    limit: str = "max_tokens"
    owner: str = "fake"
    goes_on: bool = False
    says: str = ""
    """What it replies to everything, instead of answers to the oil questionnaire."""


@dataclass
class Fault:
    """What to do, how often, with prompts whose text holds a word."""

    word: str
    kind: str
    times: int = 10**9
    seen: list[float] = field(default_factory=list)


STANDARD = {
    *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"),
    *("response_format", "logprobs", "top_logprobs", "stop"),
}


class Fake(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0, log=None, manner=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.manner = manner or Manner()
        self.faults: list[Fault] = []
        self.requests: list[dict] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.log = log
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, request):
        with self.lock:
            self.requests.append(request)
            if self.log:
                with Path(self.log).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(request) + "\n")

    def asked(self, word):
        """Count the requests whose prompt holds a word."""
        return sum(word in text_of(request) for request in self.requests)

    def fault(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.word in text_of(request) and len(fault.seen) < fault.times:
                    fault.seen.append(time.monotonic())
                    return fault.kind
        return ""

    def handle_error(self, request, address):
        """Say nothing when a client has hung up."""


@contextmanager
def serving(manner=None):
    server = Fake(manner=manner)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def text_of(request):
    return "\n".join(message["content"] for message in request["messages"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Keep off the screen."""

    def do_GET(self):
        manner = self.server.manner
        if manner.key and self.headers["Authorization"] != f"Bearer {manner.key}":
            return self.fail(401, f"wrong key {self.headers['Authorization']}")
        self.send_json({"object": "list", "data": [{"id": manner.model, "object": "model", "owned_by": manner.owner}]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.note(request)
        with server.lock:
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            self.reply(request)
        finally:
            with server.lock:
                server.in_flight -= 1

    def reply(self, request):
        manner, kind = self.server.manner, self.server.fault(request)
        if manner.key and self.headers["Authorization"] != f"Bearer {manner.key}":
            kind = "401"
        if kind == "hang":
            self.server.released.wait(20)
            self.close_connection = True
        elif kind == "slow":
            self.server.released.wait(0.05)
            self.send_json(answer(request, manner))
        elif kind == "close":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"mess')
            self.close_connection = True
        elif kind == "garbage":
            self.send_text("<html>it works</html>")
        elif kind == "empty":
            self.send_json({"choices": []})
        elif kind == "429 seconds":
            self.fail(429, "slow down", {"Retry-After": "1"})
        elif kind == "429 milliseconds":
            self.fail(429, "slow down", {"Retry-After-Ms": "600"})
        elif kind == "429 date":
            self.fail(429, "slow down", {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        elif kind == "429 tomorrow":
            self.fail(429, "come back tomorrow", {"Retry-After": "86400"})
        elif kind:
            self.fail(int(kind), f"as told, for {self.headers['Authorization']}")
        elif refusal := refused(request, manner):
            self.fail(400, refusal)
        else:
            self.send_json(answer(request, manner))

    def fail(self, status, message, headers=None):
        self.send_text(json.dumps({"error": {"message": message, "type": "test"}}), status, headers)

    def send_json(self, data):
        self.send_text(json.dumps(data))

    def send_text(self, text, status=200, headers=None):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)


def refused(request, manner):
    """Say what a request is refused for."""
    if manner.strict and (unknown := set(request) - STANDARD):
        return f"unknown fields {sorted(unknown)}"
    if {"max_tokens", "max_completion_tokens"} & set(request) != {manner.limit}:
        return f"write {manner.limit}"
    if manner.schema == "plain" and "pattern" in json.dumps(request.get("response_format")):
        return "pattern is not supported"
    if request.get("top_logprobs", 0) > manner.scores:
        return f"top_logprobs is at most {manner.scores}"
    return ""


def answer(request, manner):
    """Answer a prompt by a hash of its text and seed."""
    drawn = [request["messages"], request["model"], request.get("temperature", 1)]
    if request.get("temperature", 1) > 0:
        drawn.append(request["seed"] if manner.seed else time.monotonic_ns())
    if request.get("top_k") == 1 and not manner.strict:
        drawn.pop()
    digest = hashlib.sha256(json.dumps(drawn).encode()).digest()
    inflation = 1 + int.from_bytes(digest[:4]) % 500 / 100
    answers = GOOD | {"Inflation_rate_Scenario_2": f"{inflation:.2f}%"}
    text, schema = manner.says or in_parts(answers), request.get("response_format") if manner.schema else None
    if schema and "recall" in schema["json_schema"]["schema"]["properties"]:
        text = json.dumps({"recall": "me <final_answer>", "reasoning": "so", "final_answer": answers})
    elif schema or (manner.grammar and manner.grammar in request):
        text = '{"word": "zqv7"}' if "zqv7" in json.dumps(request) else text
    going_on = manner.goes_on and request.get("continue_final_message")
    words = sum(len(message["content"]) + 10 for message in request["messages"]) - (10 if going_on else 0)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if request.get("logprobs") and manner.scores:
        tops = [("A", -1.0), (" A", -2.0), ("B", -1.5), ("\n", -3.0), *((f"z{i}", -9.0) for i in range(96))]
        shown = [{"token": token, "logprob": p} for token, p in tops[: request["top_logprobs"]]]
        choice["logprobs"] = {"content": [shown[0] | {"top_logprobs": shown}]}
    usage = {"prompt_tokens": words, "completion_tokens": 7}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


if __name__ == "__main__":
    server = Fake(int(sys.argv[1]), sys.argv[2], Manner())
    print("ready", json.dumps(asdict(server.manner)), flush=True)
    server.serve_forever(poll_interval=0.02)
