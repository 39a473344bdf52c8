"""A run that is killed in the middle of its pages goes on where it stopped."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

from pandas.testing import assert_frame_equal

import popsim

RUN = """
import json, re, sys, time
import popsim
from popsim.engines import Reply

class Slow:
    fingerprint, reads, abilities, reproducible, notice = "slow/1", "text", frozenset(), "exact", "A test's."
    asked = 0

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            time.sleep(float(sys.argv[2]))
            seed, said = prompt.seed, {}
            Slow.asked += 1
            for field, rule in re.findall(r'^  "(\\w+)": .*\\n  // (.*)$', prompt.messages[-1][1], re.M):
                options = re.findall(r'"([^"]+)"', rule.split(";")[0])
                pick = options[seed % len(options)] if options else str(seed % 7)
                said[field] = [pick] if rule.startswith("a list") else "?" if seed % 11 == 0 else pick
            yield position, Reply(json.dumps(said))

scenario = popsim.load_scenario("household_outlook_pages", {"size": 40, "prompt.reasoning": False})
popsim.run(scenario, sys.argv[1], engine=Slow(), progress=lambda state: print(state.replies, flush=True))
print("asked", Slow.asked)
"""


def start(folder, out, pause):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, out, str(pause)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def stored(folder):
    with closing(sqlite3.connect(folder / "broken" / "journal.sqlite")) as journal:
        return journal.execute("SELECT count(*) FROM replies").fetchone()[0]


def test_a_run_killed_on_several_pages_gives_the_tables_of_an_unbroken_one(tmp_path):
    done = start(tmp_path, "unbroken", 0).communicate()[0]
    total = int(done.split()[-1])
    assert total > 40 * 3 + 40
    chance = random.Random(2)
    before = 0
    for share in (0.2, 0.45, 0.8):
        process = start(tmp_path, "broken", 0.002)
        for _ in range(int(share * total) + chance.randint(0, 5)):
            assert process.stdout.readline()
        process.kill()
        process.communicate()
        assert before < stored(tmp_path) < total
        before = stored(tmp_path)
        assert popsim.load_run(tmp_path / "broken").manifest["state"] == "running"
    last = start(tmp_path, "broken", 0).communicate()[0]
    assert int(last.split()[-1]) == total - before
    one, other = popsim.load_run(tmp_path / "unbroken"), popsim.load_run(tmp_path / "broken")
    for name in ("answers", "replies", "distributions", "people", "states", "assignment"):
        assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.replies["round"].nunique() == 5
    assert one.replies["attempt"].max() > 0
