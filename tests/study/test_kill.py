import os
import random
import sqlite3
import subprocess
import sys
import time

import pytest
from pandas.testing import assert_frame_equal
from tiny import make_tiny_checkpoint

import popsim

RUN = """
import sys, popsim
from popsim.engines import load_engine
from popsim.engines.journal import prompt_key

class Logged:
    reads = "text"
    abilities = frozenset()

    def __init__(self, engine, path):
        self.engine, self.path = engine, path
        self.fingerprint, self.reproducible, self.notice = engine.fingerprint, engine.reproducible, engine.notice

    def answer(self, prompts):
        with open(self.path, "w") as log:
            log.writelines(prompt_key(self.fingerprint, prompt).hex() + "\\n" for prompt in prompts)
        yield from self.engine.answer(prompts)

overrides = {"size": 60, "sampling.max_tokens": 30, "attempts": 1, "prompt.template": "short.txt"}
scenario = popsim.load_scenario("oil_price_fall", overrides)
engine = Logged(load_engine("transformers:model", batch_size=4), sys.argv[2])
popsim.run(scenario, sys.argv[1], engine=engine, progress=lambda state: print(state.replies, flush=True))
"""


def start(folder, out, log):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, out, log],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def stored(folder):
    path = folder / "broken" / "journal.sqlite"
    if not path.exists():
        return set()
    with sqlite3.connect(path) as journal:
        keys = {key.hex() for (key,) in journal.execute("SELECT key FROM replies")}
    journal.close()
    return keys


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_ten_times_gives_the_tables_of_an_unbroken_one(tmp_path):
    make_tiny_checkpoint(tmp_path / "model")
    (tmp_path / "short.txt").write_text("You are {{age}}, {{sex}}, of {{confidence}} confidence. Inflation?")
    unbroken = start(tmp_path, "unbroken", "unbroken.log")
    _, errors = unbroken.communicate()
    assert unbroken.returncode == 0, errors
    chance = random.Random(1)
    for kill in range(10):
        before = stored(tmp_path)
        process = start(tmp_path, "broken", "broken.log")
        for _ in range(len(before) + chance.randint(1, 5)):
            assert process.stdout.readline()
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.communicate()
        asked = set((tmp_path / "broken.log").read_text().split())
        assert asked.isdisjoint(before)
        assert before < stored(tmp_path), f"nothing was stored before kill {kill}"
        assert popsim.load_run(tmp_path / "broken").manifest["state"] == "running"
    before = stored(tmp_path)
    last = start(tmp_path, "broken", "broken.log")
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    assert set((tmp_path / "broken.log").read_text().split()).isdisjoint(before)
    one, other = popsim.load_run(tmp_path / "unbroken"), popsim.load_run(tmp_path / "broken")
    for name in ("answers", "replies", "distributions", "people", "states", "heard", "assignment"):
        assert_frame_equal(getattr(one, name), getattr(other, name))
    assert other.manifest["counts"]["from_journal"] == len(before) > 0
    assert other.manifest["counts"]["asked"] + len(before) == one.manifest["counts"]["asked"] == 60
