"""A run on vLLM whose process is killed: what was answered is not asked again."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from pandas.testing import assert_frame_equal
from tiny import make_tiny_checkpoint

import popsim

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
RUN = """
import sys, popsim
from popsim.engines import load_engine
from popsim.engines.journal import prompt_key

class Logged:
    reads = "text"

    def __init__(self, engine, path):
        self.engine, self.path, self.abilities = engine, path, engine.abilities
        self.fingerprint, self.reproducible, self.notice = engine.fingerprint, engine.reproducible, engine.notice

    def answer(self, prompts):
        with open(self.path, "w") as log:
            log.writelines(prompt_key(self.fingerprint, prompt).hex() + "\\n" for prompt in prompts)
        yield from self.engine.answer(prompts)

overrides = {"size": 200, "sampling.max_tokens": 60, "attempts": 1, "prompt.template": "short.txt"}
scenario = popsim.load_scenario("oil_price_fall", overrides)
engine = Logged(load_engine("vllm:model", dtype="float32"), sys.argv[2])
popsim.run(scenario, sys.argv[1], engine=engine, progress=lambda state: print("DONE", state.replies, flush=True))
"""


def start(folder, out, log):
    command = [sys.executable, "-c", RUN, out, log]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | SETTINGS
    )


def test_a_run_killed_in_the_middle_of_a_wave_asks_nothing_again_and_ends_alike(tmp_path):
    make_tiny_checkpoint(tmp_path / "model", "float32", context=8192, width=128)
    (tmp_path / "short.txt").write_text("You are {{age}}, {{sex}}, of {{confidence}} confidence. Inflation?")
    unbroken = start(tmp_path, "unbroken", "unbroken.log")
    _, errors = unbroken.communicate()
    assert unbroken.returncode == 0, errors
    killed = start(tmp_path, "broken", "killed.log")
    seen = 0
    while seen < 50:
        line = killed.stdout.readline()
        assert line
        seen += line.startswith("DONE")
    killed.kill()
    killed.communicate()
    with closing(sqlite3.connect(tmp_path / "broken" / "journal.sqlite")) as journal:
        stored = {key.hex() for (key,) in journal.execute("SELECT key FROM replies")}
    assert 50 <= len(stored) < 200
    again = start(tmp_path, "broken", "again.log")
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert set((tmp_path / "again.log").read_text().split()).isdisjoint(stored)
    one, other = popsim.load_run(tmp_path / "unbroken"), popsim.load_run(tmp_path / "broken")
    for name in ("answers", "replies"):
        assert_frame_equal(getattr(one, name), getattr(other, name))
    assert other.manifest["counts"]["from_journal"] == len(stored)
    assert other.manifest["counts"]["asked"] == 200 - len(stored)
