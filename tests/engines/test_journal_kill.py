"""Real processes that end badly: nothing that was handed on is lost."""

import random
import signal
import subprocess
import sys
import time

from popsim.engines import Prompt, Reply
from popsim.engines.journal import Journal, prompt_key

SIZE = 3000
WRITER = f"""
import resource, signal, sys
from popsim.engines import Prompt, Reply
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled

class Long:
    fingerprint, reads, abilities, reproducible, notice = "long", "text", frozenset(), "exact", ""
    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            yield position, Reply(prompt.messages[0][1] * 300, "stop", 1, 2)

if len(sys.argv) > 2:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
prompts = [Prompt((("user", f"[{{index}}]"),)) for index in range({SIZE})]
with Journal(sys.argv[1]) as journal:
    for position, reply in Journaled(Long(), journal).answer(prompts):
        print(position, flush=True)
"""


def start(path, log, *limit):
    """Start the writer; it logs each position when it has been handed on."""
    with log.open("wb") as out, log.with_suffix(".errors").open("wb") as errors:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(path), *map(str, limit)], stdout=out, stderr=errors)


def logged(log):
    return {int(line) for line in log.read_text().split("\n")[:-1]}


def check(path, handed_on):
    """Every reply that was handed on is stored, and every stored one is whole."""
    keys = {prompt_key("long", Prompt((("user", f"[{index}]"),))): index for index in range(SIZE)}
    with Journal(path) as journal:
        found = {keys[key]: reply for key, reply in journal.get_many(list(keys)).items()}
        assert journal._database.execute("SELECT count(*) FROM replies").fetchone() == (len(found),)
    assert handed_on <= set(found)
    assert all(reply == Reply(f"[{index}]" * 300, "stop", 1, 2) for index, reply in found.items())
    return found


def test_sigkill_at_any_moment_loses_nothing(tmp_path):
    path, log = tmp_path / "journal.sqlite", tmp_path / "log"
    chance = random.Random(1)
    handed_on, killed = set(), 0
    for _ in range(6):
        process = start(path, log)
        while not logged(log):
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.05))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        handed_on |= logged(log)
        check(path, handed_on)
    assert killed > 1
    assert start(path, log).wait() == 0
    assert logged(log) == set(range(SIZE))
    assert len(check(path, set(range(SIZE)))) == SIZE


def test_a_file_that_cannot_grow_stops_in_one_line_and_loses_nothing(tmp_path):
    path, log = tmp_path / "journal.sqlite", tmp_path / "log"
    assert start(path, log, 400_000).wait() == 1
    handed_on = logged(log)
    last = log.with_suffix(".errors").read_text().strip().splitlines()[-1]
    assert last.startswith("popsim.errors.EngineError: journal ")
    assert "free space" in last or "free some space" in last
    assert 10 < len(handed_on) < SIZE
    check(path, handed_on)
