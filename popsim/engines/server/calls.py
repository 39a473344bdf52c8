"""Requests to one server: many at once, each tried again where that may help. All of popsim's asyncio stands here."""

import asyncio
import json
import logging
import os
import random
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import openai

CHAT = "/chat/completions"
MODELS = "/models"
_AGAIN = frozenset({408, 409, 425, 429})
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_PATIENCE = 300.0
_ALIVE = 10.0
_NO_KEY = "none-needed"
_LENGTH = 300

Body = dict[str, Any]
Tag = TypeVar("Tag")


@dataclass(frozen=True, slots=True)
class Got:
    """What came of one request.

    Attributes:
        data: The object that the server sent, empty where the request failed.
        error: What went wrong in one line, else empty.
        status: The HTTP status of a failure, 0 where there was none.
        again: Whether the same request may go better later.
        wait: Seconds that the server asks to wait before that.
        gone: Whether nothing answers at the server's address any more.
    """

    data: Body = field(default_factory=dict)
    error: str = ""
    status: int = 0
    again: bool = False
    wait: float = 0.0
    gone: bool = False


class Calls:
    """Sends requests to one server, a bounded number at once, from an event loop in a thread of its own.

    Args:
        url: The address, to which ``/chat/completions`` is added.
        api_key_env: The environment variable that holds the key; it is read when requests are sent and kept nowhere.
        concurrency: Requests in flight at once.
        timeout: Seconds after which an answer is no longer waited for.
        retries: How often at most a failed request is tried again.
    """

    def __init__(self, url: str, api_key_env: str, concurrency: int, timeout: float, retries: int) -> None:
        self.url, self.api_key_env = url, api_key_env
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def fetch(self, path: str, body: Body | None = None) -> Got:
        """Send one request: GET without a body, else POST."""
        ((_, got),) = self.send([(None, body)], path)
        return got

    def fetch_chat(self, body: Body) -> Got:
        """Ask one prompt."""
        return self.fetch(CHAT, body)

    def send(
        self, requests: Iterable[tuple[Tag, Body | None]], path: str = CHAT
    ) -> Generator[tuple[Tag, Got], None, None]:
        """Send requests and yield what comes of each as soon as it is settled, with the tag that it was given.

        Requests are taken one by one, in the calling thread, and at most twice as many as are in flight are held; so
        a consumer that is slow holds up the requests and not the memory. Closing the generator ends what is in flight.
        """
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, name="popsim-server", daemon=True)
        thread.start()
        client = self._client()
        slots = asyncio.Semaphore(self.concurrency)
        settled: SimpleQueue[tuple[Tag, asyncio.Task[Got]]] = SimpleQueue()
        running: set[asyncio.Task[Got]] = set()

        def begin(tag: Tag, body: Body | None) -> None:
            task = loop.create_task(self._settle(client, slots, path, body))
            running.add(task)
            task.add_done_callback(lambda done: settled.put((tag, done)))
            task.add_done_callback(running.discard)

        held = 0
        try:
            # Nothing here takes a lock that an interrupt could leave taken: the two threads share only a queue.
            for tag, body in requests:
                loop.call_soon_threadsafe(begin, tag, body)
                held += 1
                if held >= 2 * self.concurrency:
                    tag, done = settled.get()
                    held -= 1
                    yield tag, done.result()
            for _ in range(held):
                tag, done = settled.get()
                yield tag, done.result()
        finally:
            loop.call_soon_threadsafe(lambda: loop.create_task(_stop(client, running, loop)))
            thread.join()
            loop.close()

    def _client(self) -> openai.AsyncOpenAI:
        key = os.environ.get(self.api_key_env, "") or _NO_KEY
        return openai.AsyncOpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=self.timeout)

    async def _settle(self, client: openai.AsyncOpenAI, slots: asyncio.Semaphore, path: str, body: Body | None) -> Got:
        """Send one request until it is answered, will not be, or has been tried often enough."""
        async with slots:
            for attempt in range(self.retries + 1):
                got = await _try(client, path, body, self.timeout)
                if not got.again or attempt == self.retries or got.wait > _PATIENCE:
                    break
                backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
                await asyncio.sleep(got.wait + random.uniform(0, backoff))
            if got.again and path == CHAT:
                alive = await _try(client, MODELS, None, min(self.timeout, _ALIVE))
                return replace(got, gone=bool(alive.error) and (alive.status == 0 or alive.status >= 500))
            return got


async def _try(client: openai.AsyncOpenAI, path: str, body: Body | None, timeout: float) -> Got:
    """Send one request once."""
    try:
        async with asyncio.timeout(timeout):
            text = await (client.get(path, cast_to=str) if body is None else client.post(path, cast_to=str, body=body))
    except openai.APIStatusError as problem:
        status, headers = problem.status_code, problem.response.headers
        error = f"HTTP {status}: {_said(problem, client.api_key)}"
        wait = max(0.0, _asked_wait(headers.get("retry-after-ms"), headers.get("retry-after")))
        return Got(error=error, status=status, again=status in _AGAIN or status >= 500, wait=wait)
    except (openai.APITimeoutError, TimeoutError):
        return Got(error=f"no answer within {timeout:g} s", again=True)
    except openai.APIConnectionError as problem:
        why = _one_line(str(problem.__cause__ or problem), client.api_key)
        return Got(error=f"the connection failed: {why}", again=True)
    except (ValueError, TypeError) as problem:
        return Got(error=f"the request cannot be sent: {_one_line(str(problem), client.api_key)}")
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict) or (path == CHAT and not _is_completion(data)):
        return Got(error=f"sent something that is no answer: {_one_line(text, client.api_key)[:80]!r}", again=True)
    return Got(data)


async def _stop(client: openai.AsyncOpenAI, running: set[asyncio.Task[Got]], loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all requests, close the connections and end the loop; what a request has begun ends with it, in order."""
    ours = list(running)
    for task in ours:
        task.cancel()
    try:
        await asyncio.gather(*ours, return_exceptions=True)
        await client.close()
        await asyncio.sleep(0)
    finally:
        loop.stop()


def _is_completion(data: Body) -> bool:
    """Say whether an answer has the fields that are read from it."""
    try:
        message = data["choices"][0]["message"]
        return isinstance(message.get("content"), str | None)
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def _asked_wait(milliseconds: str | None, after: str | None) -> float:
    """Read how many seconds a server asks to wait: a number, or the time in the form of HTTP.

    Example:
        >>> _asked_wait("1500", None), _asked_wait(None, "3"), _asked_wait(None, "soon")
        (1.5, 3.0, 0.0)
    """
    for text, unit in ((milliseconds, 0.001), (after, 1.0)):
        if text and re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
            return float(text) * unit
    try:
        until = parsedate_to_datetime(after or "")
    except ValueError:
        return 0.0
    return until.replace(tzinfo=until.tzinfo or UTC).timestamp() - datetime.now(UTC).timestamp()


def _said(problem: openai.APIStatusError, key: str) -> str:
    """Give what a server says of a failure."""
    body: Any = problem.body
    if isinstance(body, dict):
        body = body.get("error", body)
        body = body.get("message", body) if isinstance(body, dict) else body
    return _one_line(str(body or "no reason given"), key)


def _one_line(text: str, key: str) -> str:
    """Put a text from outside into one line of bounded length, without the key that it may repeat."""
    line = " ".join(text.replace(key, "***").split())
    return line if len(line) <= _LENGTH else f"{line[:_LENGTH]}..."
