"""The engine ``server`` against a real HTTP server that misbehaves on command."""

import json
import logging
import math
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("openai")

from fake_server import Fault, Manner, serving, text_of
from pandas.testing import assert_frame_equal

import popsim
from popsim.engines import Prompt, Sampling, Shape, answer_all, load_engine
from popsim.engines.journal import Journal
from popsim.engines.server import calls
from popsim.errors import EngineError

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-known-9f3a7c51d2"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def fake():
    with serving() as server:
        yield server


def connect(server, **options):
    return load_engine(f"server:{server.manner.model}@{server.url}", **options)


def ask_words(engine, *words):
    return answer_all(engine, [Prompt((("user", word),), seed=place) for place, word in enumerate(words)])


def oil(**overrides):
    return popsim.load_scenario("oil_price_fall", {"size": 12, "engine": "baseline", **overrides})


def test_every_prompt_gets_the_reply_to_its_own_text_and_seed(fake):
    engine = connect(fake, concurrency=8)
    prompts = [Prompt((("user", f"word {i % 50}"),), seed=i) for i in range(200)]
    replies = answer_all(engine, prompts)
    assert [answer_all(engine, [prompt])[0] for prompt in prompts[::40]] == replies[::40]
    assert len({reply.text for reply in replies}) > 100
    assert {(reply.finish, reply.completion_tokens) for reply in replies} == {("stop", 7)}


def test_requests_in_flight_are_bounded_and_prompts_are_read_only_a_little_ahead(fake):
    read = []

    class Lazy(Sequence):
        def __len__(self):
            return 10_000

        def __getitem__(self, i):
            read.append(i)
            return Prompt((("user", f"slow {i}"),), seed=i)

    fake.faults.append(Fault("slow", "slow"))
    engine = connect(fake, concurrency=4)
    fake.most_in_flight = 0
    answers = engine.answer(Lazy())
    for _ in range(10):
        next(answers)
    assert fake.most_in_flight == 4
    assert max(read) <= 10 + 2 * 4
    answers.close()
    assert fake.asked("slow") <= 10 + 2 * 4


def test_closing_ends_what_is_in_flight_at_once(fake):
    engine = connect(fake, concurrency=2)
    fake.faults.append(Fault("hangs", "hang"))
    answers = engine.answer([Prompt((("user", word),)) for word in ("hangs", "a", "b", "c", "d")])
    position, reply = next(answers)
    assert (position > 0, reply.finish) == (True, "stop")
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 2
    assert not [thread for thread in threading.enumerate() if thread.name == "popsim-server"]


def test_an_interrupt_ends_a_waiting_process_at_once(fake):
    fake.faults.append(Fault("hangs", "hang"))
    code = (
        "import sys; from popsim.engines import Prompt, load_engine\n"
        "engine = load_engine(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "try: list(engine.answer([Prompt((('user', 'hangs'),))] * 100))\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    command = [sys.executable, "-c", code, f"server:fake@{fake.url}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout.readline() == "ready\n"
        while not fake.asked("hangs"):
            time.sleep(0.01)
        time.sleep(0.2)
        start = time.monotonic()
        waiting.send_signal(signal.SIGINT)
        said, complained = waiting.communicate(timeout=15)
    assert time.monotonic() - start < 5
    assert (said, complained, waiting.returncode) == ("interrupted\n", "", 0)


@pytest.mark.parametrize(
    ("kind", "times", "waited"),
    [
        ("500", 2, 0),
        ("503", 1, 0),
        ("408", 1, 0),
        ("409", 1, 0),
        ("garbage", 2, 0),
        ("empty", 1, 0),
        ("close", 2, 0),
        ("429 seconds", 1, 1.0),
        ("429 milliseconds", 1, 0.6),
        ("429 date", 1, 0.9),
    ],
)
def test_what_may_go_better_later_is_asked_again_and_only_that(fake, kind, times, waited):
    engine = connect(fake)
    undisturbed = ask_words(engine, "bad", "good")
    fake.requests.clear()
    fake.faults.append(Fault("bad", kind, times))
    start = time.monotonic()
    assert ask_words(engine, "bad", "good") == undisturbed
    assert time.monotonic() - start >= waited
    assert (fake.asked("bad"), fake.asked("good")) == (times + 1, 1)


def test_a_hanging_request_is_given_up_and_sent_again(fake):
    engine = connect(fake, timeout=0.4, retries=1)
    fake.faults += [Fault("once", "hang", 1), Fault("always", "hang")]
    once, always, good = ask_words(engine, "once", "always", "good")
    assert (once.finish, good.finish) == ("stop", "stop")
    assert always.finish == "error"
    assert "no answer within 0.4 s" in always.error
    assert (fake.asked("once"), fake.asked("always"), fake.asked("good")) == (2, 2, 1)


@pytest.mark.parametrize("kind", ["400", "413", "422"])
def test_a_refused_request_is_a_failed_row_at_once(fake, kind):
    engine = connect(fake)
    fake.faults.append(Fault("bad", kind))
    bad, good = ask_words(engine, "bad", "good")
    assert (bad.finish, good.finish) == ("error", "stop")
    assert bad.error.startswith(f"HTTP {kind}: as told")
    assert "\n" not in bad.error
    assert fake.asked("bad") == 1


def test_what_fails_for_good_is_a_failed_row_after_its_retries(fake):
    engine = connect(fake, retries=3)
    fake.faults += [Fault("bad", "500"), Fault("worse", "close"), Fault("wait", "429 tomorrow")]
    bad, worse, wait, good = ask_words(engine, "bad", "worse", "wait", "good")
    assert [reply.finish for reply in (bad, worse, wait, good)] == ["error", "error", "error", "stop"]
    assert "HTTP 500" in bad.error
    assert "connection" in worse.error
    assert "come back tomorrow" in wait.error
    assert [fake.asked(word) for word in ("bad", "worse", "wait", "good")] == [4, 4, 1, 1]


@pytest.mark.parametrize(("kind", "says"), [("401", "key"), ("403", "key"), ("404", "does not serve this model")])
def test_a_refused_key_or_model_ends_the_batch_with_one_line(fake, kind, says):
    engine = connect(fake, concurrency=2)
    fake.faults.append(Fault("bad", kind))
    with pytest.raises(EngineError, match=says) as problem:
        ask_words(engine, *["good"] * 4, *["bad"] * 100)
    assert "\n" not in str(problem.value)
    assert fake.asked("bad") < 10


def test_twenty_failures_in_a_row_end_the_batch(fake):
    engine = connect(fake, retries=0, concurrency=2)
    fake.faults.append(Fault("bad", "500"))
    with pytest.raises(EngineError, match="20 prompts in a row failed, the last with: HTTP 500"):
        ask_words(engine, *["bad"] * 1000)
    assert fake.asked("bad") < 30
    fake.requests.clear()
    mixed = ask_words(engine, *(["bad"] * 10 + ["good"]) * 5)
    assert sum(reply.finish == "error" for reply in mixed) == 50


def test_a_server_that_is_not_there_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match="cannot be reached: the connection failed") as problem:
        load_engine(f"server:m@http://127.0.0.1:{port}/v1")
    assert "\n" not in str(problem.value)


def test_a_model_that_is_not_served_is_named_beside_those_that_are(fake):
    fake.faults.append(Fault("letters", "404"))
    with pytest.raises(EngineError, match="no such model; it lists: fake"):
        load_engine(f"server:other@{fake.url}")


# What a server can do


def test_a_plain_server_is_known_for_what_it_lacks():
    manner = Manner(seed=False, strict=True, schema="", scores=0)
    with serving(manner) as server:
        engine = connect(server)
        assert engine.abilities == frozenset()
        for words in ("seed", "top-k", "beginning of a reply", "form", "log-probabilities"):
            assert any(words in remark for remark in engine.remarks)
            assert words in engine.notice
        (reply,) = answer_all(engine, [Prompt((("user", "x"),), shape=Shape("root ::= [a]", "{}"))])
        assert reply.finish == "stop"
        assert set(server.requests[-1]) == {"model", "messages", "max_tokens", "temperature", "top_p", "seed"}
        for prompt in (
            Prompt((("user", "x"),), prefill="{"),
            Prompt((("user", "x"),), choices=("A", "B")),
            Prompt((("user", "x"),), Sampling(top_k=5)),
        ):
            with pytest.raises(EngineError):
                answer_all(engine, [prompt])


def test_an_able_server_is_known_for_what_it_can_do():
    with serving(Manner(goes_on=True, grammar="structured_outputs")) as server:
        engine = connect(server)
        assert engine.abilities == {"seed", "prefill", "grammar", "choice"}
        answer_all(engine, [Prompt((("user", "x"),), prefill="{", shape=Shape('root ::= "a"', "{}"))])
        request = server.requests[-1]
        assert request["structured_outputs"] == {"grammar": 'root ::= "a"'}
        assert request["messages"][-1] == {"role": "assistant", "content": "{"}
        assert (request["continue_final_message"], request["add_generation_prompt"]) == (True, False)


def test_a_server_that_takes_prefill_fields_and_ignores_them_cannot_go_on():
    with serving(Manner(goes_on=False)) as server:
        assert "prefill" not in connect(server).abilities


def test_the_length_limit_goes_by_the_name_that_the_server_knows():
    with serving(Manner(limit="max_completion_tokens", strict=True)) as server:
        answer_all(connect(server), [Prompt((("user", "x"),), Sampling(max_tokens=17))])
        assert server.requests[-1]["max_completion_tokens"] == 17


@pytest.mark.parametrize("schema", ["full", "plain"])
def test_a_schema_gives_three_parts_that_read_the_same(schema, tmp_path):
    with serving(Manner(schema=schema, strict=True)) as server:
        engine = connect(server)
        assert "grammar" in engine.abilities
        run = popsim.run(oil(sampling={"structured": True}), tmp_path / "run", engine=engine)
        assert set(run.answers["status"]) == {"ok"}
        assert set(run.replies["recall"]) == {"me"}
        sent = json.dumps(server.requests[-1]["response_format"])
        assert ("pattern" in sent) == (schema == "full")
        assert ("patterns" in engine.notice) == (schema == "plain")


def test_sampling_is_sent_as_the_prompt_says_and_the_servers_own_is_switched_off(fake):
    engine = connect(fake)
    answer_all(engine, [Prompt((("user", "x"),), Sampling(0.7, 0.9, 40, 33), seed=2**62 + 5)])
    request = fake.requests[-1]
    neutral = {"min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
    assert request.items() >= {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "max_tokens": 33, **neutral}.items()
    assert request["seed"] == 5
    answer_all(engine, [Prompt((("user", "x"),), Sampling(model=True, max_tokens=33))])
    assert set(fake.requests[-1]) == {"model", "messages", "max_tokens", "seed"}


def test_choices_are_the_summed_probabilities_of_their_spellings(fake):
    (reply,) = answer_all(connect(fake), [Prompt((("user", "x"),), choices=("A", "B", "C"))])
    shares = json.loads(reply.text)
    assert shares == pytest.approx([math.exp(-1) + math.exp(-2), math.exp(-1.5), 0])
    assert fake.requests[-1]["max_tokens"] == 1


# Keys and addresses


def test_the_key_is_sent_and_written_nowhere(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.INFO)
    with serving(Manner(key=KEY)) as server:
        engine = connect(server, api_key_env="MY_KEY", retries=1)
        popsim.run(oil(), tmp_path / "good", engine=engine)
        server.faults.append(Fault("", "400"))
        popsim.run(oil(), tmp_path / "bad", engine=engine)
        server.manner.key = "another"
        with pytest.raises(EngineError, match="refuses the key") as problem:
            popsim.run(oil(), tmp_path / "worse", engine=engine)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("as told" in str(error) for error in popsim.load_run(tmp_path / "bad").replies["error"])
    assert len(files) > 20
    seen = [path.read_bytes() for path in files]
    seen += [str(problem.value).encode(), repr(vars(engine)).encode(), pickle.dumps(engine)]
    seen += [caplog.text.encode(), *(text.encode() for text in capfd.readouterr())]
    assert not [text for text in seen if KEY.encode() in text]
    assert "HTTP Request" not in caplog.text


def test_a_missing_key_names_the_variable():
    with serving(Manner(key=KEY)) as server, pytest.raises(EngineError, match="environment variable OPENAI_API_KEY"):
        connect(server)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (f"server:m@http://user:{KEY}@host/v1", "user name or key"),
        (f"server:m@http://host/v1?key={KEY}", "query"),
        ("server:m@ftp://host/v1", "http://"),
        ("server:m", "needs the address"),
        ("server:m@http://host:port/v1", "cannot be read"),
    ],
)
def test_a_wrong_address_is_refused_without_repeating_it(spec, says):
    with pytest.raises(EngineError, match=says) as problem:
        load_engine(spec)
    assert KEY not in str(problem.value)


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"timeout": 0}, {"retries": -1}, {"api_key_env": KEY}, {"retries": "two"}]
)
def test_wrong_options_are_refused_before_anything_is_sent(fake, options):
    with pytest.raises(EngineError, match=next(iter(options))) as problem:
        connect(fake, **options)
    assert KEY not in str(problem.value)
    assert fake.requests == []


def test_the_fingerprint_names_model_and_address(fake):
    engine = connect(fake)
    assert engine.fingerprint == f"server:fake@127.0.0.1:{fake.server_address[1]}/v1"
    assert engine.reproducible == "best_effort"
    assert load_engine(f"server:alias@{fake.url}").fingerprint.endswith("/v1=fake")


# Through the journal, over a killed server


@contextmanager
def process(port, log):
    command = [sys.executable, str(ROOT / "tests" / "fake_server.py"), str(port), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith("ready")
            yield server
        finally:
            server.kill()


def questions(log):
    """Give the texts and seeds of the study's prompts that a server was sent."""
    requests = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [(text_of(r), r["seed"]) for r in requests if len(text_of(r)) > 500]


def test_a_server_killed_in_the_middle_loses_nothing_and_nothing_is_asked_twice(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scenario, spec = oil(size=40), f"server:fake@http://127.0.0.1:{port}/v1"
    log, after, folder = tmp_path / "before.log", tmp_path / "after.log", tmp_path / "run"
    with process(port, log) as server:
        engine = load_engine(spec, retries=2, concurrency=4)
        undisturbed = popsim.run(scenario, tmp_path / "undisturbed", engine=engine)
        log.write_text("", encoding="utf-8")

        def kill(progress):
            if progress.replies == 15:
                server.kill()
                server.wait()

        with pytest.raises(EngineError, match="the server is gone") as problem:
            popsim.run(scenario, folder, engine=engine, progress=kill)
        assert "run the same command again" in str(problem.value)
    with Journal(folder / "journal.sqlite", readonly=True) as journal:
        (stored,) = journal._database.execute("SELECT count(*) FROM replies").fetchone()
    assert 15 <= stored < 40
    with process(port, after):
        run = popsim.run(scenario, folder, engine=load_engine(spec, concurrency=4))
    asked_again = questions(after)
    assert len(asked_again) == len(set(asked_again)) == 40 - stored
    assert run.manifest["counts"]["from_journal"] == stored
    assert_frame_equal(run.answers, undisturbed.answers)
    assert_frame_equal(run.replies, undisturbed.replies)


def test_a_server_that_comes_back_within_the_retries_is_not_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with process(port, tmp_path / "one.log"):
        engine = load_engine(f"server:fake@http://127.0.0.1:{port}/v1", retries=8, concurrency=2)
        undisturbed = ask_words(engine, *map(str, range(10)))
    answers, got = engine.answer([Prompt((("user", str(i)),), seed=i) for i in range(10)]), {}
    restarted = threading.Event()

    def restart():
        time.sleep(0.5)
        with process(port, tmp_path / "two.log"):
            restarted.wait(30)

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        got = dict(answers)
    finally:
        restarted.set()
        thread.join()
    assert [got[i] for i in range(10)] == undisturbed
