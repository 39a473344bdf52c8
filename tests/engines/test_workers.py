"""Real Ray workers: the same replies as in process, none lost or asked twice when one is killed, none left behind."""

import gc
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

ray = pytest.importorskip("ray")

import engines_for_workers  # noqa: E402

import popsim  # noqa: E402
from popsim import cli  # noqa: E402
from popsim.engines import Prompt, answer_all  # noqa: E402
from popsim.engines.journal import Journal  # noqa: E402
from popsim.engines.journaled import Journaled  # noqa: E402
from popsim.engines.workers import Workers  # noqa: E402
from popsim.engines.workers.actor import connect  # noqa: E402
from popsim.errors import EngineError  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def _ray():
    """One Ray for all tests of this file; what it leaves to the garbage collector is no fault of ours."""
    assert connect("")
    yield
    ray.shutdown()
    gc.collect()


def named(name, *, workers=2, **options):
    return Workers(f"engines_for_workers:{name}", options, workers)


def seeds(count):
    return [Prompt((("user", "Good morning."),), seed=seed) for seed in range(count)]


def logged(path="log"):
    """Give the lines of the log as pairs of process and seed."""
    lines = Path(path).read_text().split("\n")[:-1] if Path(path).exists() else []
    return [(int(process), int(seed)) for process, seed in (line.split() for line in lines)]


def test_a_run_on_two_workers_has_the_tables_of_one_in_process_and_is_the_same_run(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tiny import make_tiny_checkpoint

    make_tiny_checkpoint(tmp_path / "model", "float32")
    Path("short.txt").write_text("You are {{age}}, {{sex}}, of {{confidence}} confidence. Inflation?")
    overrides = {"size": 40, "sampling.max_tokens": 30, "attempts": 2, "prompt.template": "short.txt"}
    one, two = (
        popsim.load_scenario("oil_price_fall", overrides | {"engine": {"spec": "nano:model", "workers": workers}})
        for workers in (1, 2)
    )
    alone, spread = popsim.run(one, "alone"), popsim.run(two, "spread")
    for name in ("answers", "replies"):
        assert_frame_equal(getattr(spread, name), getattr(alone, name))
    assert set(spread.replies["text"].str.len()) != {0}
    differing = {key for key in spread.manifest if spread.manifest[key] != alone.manifest[key]}
    assert differing <= {"started", "starts", "seconds"}
    assert popsim.run(two, "alone").manifest == alone.manifest


def test_a_killed_worker_is_replaced_and_only_what_it_had_not_answered_is_asked_again(tmp_path):
    came, killed = {}, 0
    with named("Logged", log="log", pause=0.002) as engine, Journal(tmp_path / "journal") as journal:
        for position, reply in Journaled(engine, journal).answer(seeds(1000)):
            assert position not in came
            came[position] = reply.text
            if len(came) == 150:
                killed = logged()[-1][0]
                before = set(came)
                os.kill(killed, signal.SIGKILL)
    assert came == {seed: str(seed) for seed in range(1000)}
    asked = Counter(seed for _, seed in logged())
    again = {seed for seed, times in asked.items() if times > 1}
    begun = {seed for process, seed in logged() if process == killed}
    assert len(begun) > 10
    assert again <= begun - before
    assert len(again) < len(begun) / 2
    assert sum(asked.values()) == 1000 + len(again)


def test_a_prompt_that_kills_its_workers_is_an_error_and_the_rest_is_answered():
    with named("Logged", log="log", deadly=33) as engine:
        replies = answer_all(engine, seeds(80))
    assert [reply.text for reply in replies] == [str(seed) if seed != 33 else "" for seed in range(80)]
    assert replies[33].finish == "error"
    assert re.fullmatch(r"killed 3 workers: its process ended: .+", replies[33].error)
    assert Counter(seed for _, seed in logged())[33] == 3


def test_workers_that_die_over_everything_end_the_run_in_one_line(monkeypatch):
    monkeypatch.setattr("popsim.engines.workers.engine._DEATHS_IN_A_ROW", 4)
    with named("Deadly", log="log", workers=1) as engine, pytest.raises(EngineError) as failed:
        answer_all(engine, seeds(40))
    assert re.fullmatch(r"engine \S+:Deadly: 4 workers died in a row without a reply: its .+", str(failed.value))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unloadable", r"unloadable: no such folder; give another"),
        ("Dying", r"engine \S+:Dying: a worker died 3 times while it loaded: its process ended: .+"),
        ("Nobody", r"engine engines_for_workers:Nobody: cannot be imported: .+"),
    ],
)
def test_an_engine_that_cannot_load_is_one_line(name, message):
    with pytest.raises(EngineError) as failed:
        named(name)
    assert re.fullmatch(message, str(failed.value))


def test_an_engine_that_reads_facts_is_refused():
    with pytest.raises(EngineError, match=r"engine baseline: reads facts.*leave workers out"):
        Workers("baseline", workers=1)


def test_a_failure_while_answering_reaches_the_driver_in_one_line():
    with named("Failing", log="log") as engine, pytest.raises(EngineError) as failed:
        answer_all(engine, seeds(10))
    assert str(failed.value) == "ValueError: half a model"


def test_prompts_that_nobody_waited_for_do_not_come_back_with_the_next():
    with named("Logged", log="log", pause=0.02) as engine:
        _ = next(engine.answer(seeds(500)))
        assert [reply.text for reply in answer_all(engine, seeds(3))] == ["0", "1", "2"]
        assert answer_all(engine, []) == []
    assert len(logged()) < 400


def test_a_worker_has_the_drivers_folder_and_settings_and_never_its_keys(monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_MADE_UP", "7")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    prompts = [Prompt((("user", name),)) for name in ("VLLM_MADE_UP", "VLLM_API_KEY", "cwd")]
    with named("Environment", log="log", workers=1) as engine:
        assert [reply.text for reply in answer_all(engine, prompts)] == ["7", "nothing", str(tmp_path)]
    with named("Affine", workers=1) as engine:
        assert {reply.text for reply in answer_all(engine, prompts)} == {"True"}


def test_single_tokens_are_asked_on_every_worker_and_survive_a_killed_one():
    asked = [(prompt, (1,) * (prompt.seed % 3)) for prompt in seeds(7)]
    alone = engines_for_workers.Logged("log")
    with named("Logged", log="log", pause=0.01) as engine:
        assert "next" in engine.abilities
        assert engine.spelling() == alone.spelling()
        answer_all(engine, seeds(20))
        os.kill(logged()[-1][0], signal.SIGKILL)
        np.testing.assert_array_equal(engine.next_logprobs(asked, [3, 5]), alone.next_logprobs(asked, [3, 5]))


def test_more_than_the_cluster_has_is_one_line(monkeypatch):
    monkeypatch.setattr("popsim.engines.workers.actor._PATIENCE", 0.0)
    address = ray.get_runtime_context().gcs_address
    with pytest.raises(EngineError, match=r"^5000 workers need 5000 CPUs, and Ray has \d+ free$"):
        Workers("engines_for_workers:Logged", {"log": "log"}, 5000, address)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "0"), r"workers must be a whole number of 1 or more, not 0"),
        (("--ray-address", "nowhere"), r"--ray-address nowhere: must be HOST:PORT of a cluster's head, or auto"),
        (("--ray-address", "ray://a:1"), r"--ray-address ray://a:1: must be HOST:PORT.*"),
        (("--ray-address", "127.0.0.1:9"), r"--ray-address 127.0.0.1:9: cannot be reached: .*refused"),
    ],
)
def test_bad_values_are_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(sys, "argv", ["popsim", "run", "oil_price_fall", "--size", "4", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert re.fullmatch(rf"popsim: {message}\n", capsys.readouterr().err)


def marked(mark):
    """List the processes that have inherited a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def left(mark, expected):
    """Wait until no more processes than expected have the mark."""
    until = time.monotonic() + 40
    while len(marked(mark)) > expected and time.monotonic() < until:
        time.sleep(0.2)
    return marked(mark)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
@pytest.mark.parametrize(("end", "status"), [("close", 0), ("exit", 7), ("kill", -signal.SIGKILL)])
def test_no_process_is_left_when_the_workers_are_closed_or_the_driver_ends(end, status, tmp_path):
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, engines_for_workers.__file__, str(tmp_path), end],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0 1 2 3\n"
        assert len(marked(mark)) > 3
        if end == "close":
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == "closed\n"
            assert left(mark, 1) == [str(process.pid)]
        process.send_signal(signal.SIGKILL if end == "kill" else signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors == ""
    if end == "kill":
        engines = {process for process, _ in logged()}
        until = time.monotonic() + 60  # Ray's own two agents look for the driver for a minute
        while set(marked(mark)) & set(map(str, engines)) and time.monotonic() < until:
            time.sleep(0.2)
        assert set(marked(mark)).isdisjoint(map(str, engines))
    else:
        assert left(mark, 0) == []
