"""The cache that runs share: what it knows, who may use it at once, and what pruning takes away."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from popsim.engines import Prompt, Reply, Sampling, answer_all
from popsim.engines import cache as module
from popsim.engines.cache import Cache, opened
from popsim.engines.journal import Journal, prompt_key
from popsim.engines.journaled import Journaled
from popsim.errors import EngineError

DAY = 86_400


class Counting:
    """Answers with the text and the seed, and remembers what it was asked."""

    fingerprint, reads, abilities, reproducible, notice = "counting", "text", frozenset({"seed"}), "exact", ""

    def __init__(self):
        self.seen = []

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            self.seen.append(prompt)
            word = prompt.messages[0][1]
            bad = word == "bad"
            yield position, Reply("" if bad else f"{word} {prompt.seed}", "error" if bad else "stop", 3, 4)


def ask(*words, seed=0, **others):
    return [Prompt((("user", word),), seed=seed, **others) for word in words]


def run(folder, prompts, cache="cache.sqlite"):
    """Answer prompts with a journal of their own and the shared cache; give the counts and the texts."""
    engine = Counting()
    with Journal(folder) as journal, opened(cache) as shared:
        asking = Journaled(engine, journal, shared)
        texts = [reply.text for reply in answer_all(asking, prompts)]
    return asking, texts, engine.seen


def journal_of(path):
    with Journal(path, readonly=True) as journal:
        return {bytes(key): text for key, text in journal._database.execute("SELECT key, text FROM replies")}


def test_another_run_is_answered_from_the_cache_and_keeps_a_whole_journal_of_its_own():
    first, texts, _ = run("a.sqlite", ask("up", "down", "up"))
    assert (first.asked, first.from_journal, first.from_cache, first.duplicates) == (2, 0, 0, 1)
    second, again, seen = run("b.sqlite", ask("up", "down", "up", "sideways"))
    assert (second.asked, second.from_journal, second.from_cache, second.duplicates) == (1, 0, 3, 0)
    assert again == [*texts, "sideways 0"]
    assert [prompt.messages[0][1] for prompt in seen] == ["sideways"]
    Path("cache.sqlite").unlink()
    alone, last, seen = run("b.sqlite", ask("up", "down", "up", "sideways"), cache=None)
    assert (alone.from_journal, last, seen) == (4, again, [])


def test_the_journal_of_the_run_comes_before_the_cache():
    run("a.sqlite", ask("up"))
    with Journal("b.sqlite") as journal:
        journal.put(prompt_key("counting", ask("up")[0]), Reply("mine"))
    counts, texts, _ = run("b.sqlite", ask("up"))
    assert (texts, counts.from_journal, counts.from_cache) == (["mine"], 1, 0)


def test_errors_are_not_cached_and_a_greedy_reply_serves_any_seed():
    _, texts, _ = run("a.sqlite", ask("bad", "good"))
    assert texts == ["", "good 0"]
    _, _, seen = run("b.sqlite", ask("bad", "good"))
    assert [prompt.messages[0][1] for prompt in seen] == ["bad"]
    greedy = Sampling(temperature=0)
    run("c.sqlite", ask("cold", seed=1, sampling=greedy))
    counts, texts, _ = run("d.sqlite", ask("cold", seed=2, sampling=greedy) + ask("cold", seed=2))
    assert (texts, counts.from_cache, counts.asked) == (["cold 1", "cold 2"], 1, 1)


def test_half_a_run_that_breaks_off_is_in_the_cache():
    with Journal("a.sqlite") as journal, opened("cache.sqlite") as shared:
        answers = Journaled(Counting(), journal, shared).answer(ask("a", "b", "c"))
        next(answers), next(answers)
        answers.close()
    counts, _, _ = run("b.sqlite", ask("a", "b", "c"))
    assert (counts.from_cache, counts.asked) == (2, 1)


def test_a_file_system_without_locks_means_no_cache_and_one_line(monkeypatch, caplog):
    monkeypatch.setattr(module, "wal_works", lambda folder: False)
    counts, texts, _ = run("a.sqlite", ask("up"))
    assert (texts, counts.asked) == (["up 0"], 1)
    assert not Path("cache.sqlite").exists()
    assert [record.getMessage() for record in caplog.records] == [
        "popsim: cache cache.sqlite: off: its file system is full or cannot lock; name a file on a local disk"
    ]


def test_a_cache_that_fails_in_the_middle_is_switched_off_once_and_the_run_goes_on(caplog):
    with Journal("a.sqlite") as journal, opened("cache.sqlite") as shared:
        answers = Journaled(Counting(), journal, shared).answer(ask(*"abcdef"))
        next(answers)
        shared._database.execute("PRAGMA query_only = ON")
        assert len(list(answers)) == 5
    assert len(journal_of("a.sqlite")) == 6
    assert len(journal_of("cache.sqlite")) == 1
    (record,) = caplog.records
    assert record.getMessage().endswith("; the run goes on without it")
    assert "cache cache.sqlite" in record.getMessage()


@pytest.mark.parametrize("content", ["text", "journal", "newer"])
def test_a_file_that_is_no_cache_is_refused_in_one_line_and_left_alone(content):
    if content == "text":
        Path("file.sqlite").write_text("not a database " * 100)
    elif content == "journal":
        with Journal("file.sqlite") as journal:
            journal.put(b"k", Reply("kept"))
    else:
        with Cache("file.sqlite") as cache:
            cache._database.execute("PRAGMA user_version = 99")
    before = Path("file.sqlite").read_bytes()
    says = {"text": "not a journal|not a database", "journal": "is the journal of a run", "newer": "schema 99"}[content]
    with pytest.raises(EngineError, match=f"^cache file.sqlite: .*({says})") as caught, opened("file.sqlite"):
        pass
    assert "\n" not in str(caught.value)
    assert Path("file.sqlite").read_bytes() == before


def test_a_cache_in_a_new_folder_is_made():
    run("a.sqlite", ask("up"), cache="new/folder/cache.sqlite")
    assert [p.name for p in Path("new/folder").iterdir()] == ["cache.sqlite"]
    assert len(journal_of("new/folder/cache.sqlite")) == 1


def filled(monkeypatch):
    """Make a cache of three replies, each 100 days after the one before; give its prompts."""
    prompts = ask("a" * 3000, "b" * 3000, "c" * 3000)
    with Cache("cache.sqlite") as cache:
        for number, prompt in enumerate(prompts):
            monkeypatch.setattr(module.time, "time", lambda number=number: (1000 + 100 * number) * DAY + 5.0)
            cache.keep("counting", {prompt_key("counting", prompt): Reply(prompt.messages[0][1])})
    return prompts


def known(prompts):
    with Cache("cache.sqlite", readonly=True) as cache:
        found = cache.get_many([prompt_key("counting", prompt) for prompt in prompts])
    return "".join(sorted(reply.text[0] for reply in found.values()))


def test_contents_are_told_by_engine_with_the_day_of_last_use(monkeypatch):
    filled(monkeypatch)
    with Cache("cache.sqlite") as cache:
        cache.keep("other", {b"k": Reply("four")})
    with Cache("cache.sqlite", readonly=True) as cache:
        assert cache.contents() == [("counting", 3, 9000, 1200 * DAY), ("other", 1, 4, 1200 * DAY)]


def test_pruning_by_age_takes_what_was_not_used_since(monkeypatch):
    prompts = filled(monkeypatch)
    with Cache("cache.sqlite") as cache:
        assert list(cache.find("counting", [prompt_key("counting", prompts[0])]))
        assert cache.prune(older_than=50) == 1
    assert known(prompts) == "ac"


def test_pruning_to_a_size_takes_the_longest_unused_and_the_file_shrinks(monkeypatch):
    prompts = filled(monkeypatch)
    with Cache("cache.sqlite") as cache:
        for number in range(2000):
            cache.keep("counting", {b"%06d" % number: Reply("x" * 300)})
        before = cache.size()
        assert cache.prune(max_size=before) == 0
        gone = cache.prune(max_size=before // 2)
        assert cache.size() <= before // 2
        assert cache.size() > before // 4
        assert 900 < gone < 1300
        assert cache.prune(max_size=0) == 2003 - gone
    assert Path("cache.sqlite").stat().st_size < before // 4
    assert known(prompts) == ""


def test_pruning_while_another_reads_and_writes_disturbs_neither(monkeypatch):
    keys = [b"%06d" % number for number in range(3000)]
    with Cache("cache.sqlite") as cache:
        cache.keep("counting", {key: Reply("x" * 200) for key in keys})
    wrong, rounds, stop = [], [], threading.Event()

    def use():
        with Cache("cache.sqlite") as mine:
            while not stop.is_set():
                found = mine.find("counting", keys[:400])
                wrong.extend(key for key, reply in found.items() if reply.text != "x" * 200)
                mine.keep("counting", {b"new %d" % len(rounds): Reply("y")})
                rounds.append(len(found))
            wrong.extend([mine] * mine._off)

    other = threading.Thread(target=use)
    other.start()
    while not rounds:
        time.sleep(0.001)
    with Cache("cache.sqlite") as cache:
        gone = cache.prune(max_size=cache.size() // 3)
    after = len(rounds)
    while len(rounds) < after + 3:
        time.sleep(0.001)
    stop.set()
    other.join()
    assert wrong == []
    assert gone > 1000
    with Cache("cache.sqlite") as cache:
        new = cache.get_many([b"new %d" % number for number in range(len(rounds))])
    assert {reply.text for reply in new.values()} == {"y"}
    assert b"new %d" % (len(rounds) - 1) in new


WRITER = """
import sys
from popsim.engines import Prompt, Reply
from popsim.engines.cache import opened
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled

class Slow:
    fingerprint, reads, abilities, reproducible, notice = "slow", "text", frozenset(), "exact", ""
    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            yield position, Reply(prompt.messages[0][1] * 100)

first, last = int(sys.argv[2]), int(sys.argv[3])
prompts = [Prompt((("user", f"[{index}]"),)) for index in range(first, last)]
sys.stdin.readline()
with Journal(sys.argv[1]) as journal, opened("cache.sqlite") as cache:
    for position, _ in Journaled(Slow(), journal, cache).answer(prompts):
        print(first + position, flush=True)
"""


def writer(name, first, last):
    with Path(f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(first), str(last)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_processes_that_start_at_once_share_one_new_file_and_lose_nothing():
    processes = [writer(f"{name}.sqlite", 100 * k, 100 * k + 300) for k, name in enumerate("abc")]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    keys = {prompt_key("slow", Prompt((("user", f"[{index}]"),))): index for index in range(500)}
    with Cache("cache.sqlite", readonly=True) as cache:
        found = {keys[key]: reply.text for key, reply in cache.get_many(list(keys)).items()}
    assert found == {index: f"[{index}]" * 100 for index in range(500)}
    for k, name in enumerate("abc"):
        assert len(journal_of(f"{name}.sqlite")) == 300, k


def test_a_killed_process_leaves_the_cache_usable_and_with_all_it_handed_on():
    process = writer("a.sqlite", 0, 3000)
    process.stdin.write("go\n")
    process.stdin.flush()
    log = Path("a.sqlite.log")
    while len(log.read_text().splitlines()) < 20:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    handed_on = [int(line) for line in log.read_text().split("\n")[:-1]]
    with Cache("cache.sqlite") as cache:
        keys = [prompt_key("slow", Prompt((("user", f"[{index}]"),))) for index in handed_on]
        assert len(cache.find("slow", keys)) == len(keys) >= 20


def test_a_plain_copy_of_a_closed_cache_is_a_cache():
    run("a.sqlite", ask("up"))
    shutil.copy("cache.sqlite", "copy.sqlite")
    counts, _, _ = run("b.sqlite", ask("up"), cache="copy.sqlite")
    assert counts.from_cache == 1
