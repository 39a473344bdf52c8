"""The journal: keys, what is stored, what is asked, and what an unusable file says."""

import json
import sqlite3
import string
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popsim.engines import Prompt, Reply, Sampling, answer_all, load_engine
from popsim.engines import journal as module
from popsim.engines.journal import Journal, prompt_key
from popsim.engines.journaled import Journaled
from popsim.errors import EngineError

ANY_TEXT = st.text(alphabet=st.characters(), max_size=200)
TEXT = st.text(max_size=30)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    top_p=st.sampled_from([0.9, 1.0]),
    top_k=st.integers(0, 3),
    max_tokens=st.integers(1, 3),
)
MESSAGES = st.lists(st.tuples(st.sampled_from(["system", "user"]), TEXT), min_size=1, max_size=3).map(tuple)
PROMPTS = st.builds(Prompt, messages=MESSAGES, sampling=SAMPLINGS, seed=st.integers(0, 2**63 - 1))


class Counting:
    """Answers with the seed and the last message, some prompts with an error, and remembers what it was asked."""

    fingerprint, reads, abilities, reproducible, notice = "counting", "text", frozenset(), "exact", "No model."

    def __init__(self, fails=()):
        self.seen = []
        self.fails = fails

    def answer(self, prompts):
        for position in reversed(range(len(prompts))):
            prompt = prompts[position]
            self.seen.append(prompt)
            text = prompt.messages[-1][1]
            failed = text in self.fails
            yield (
                position,
                Reply("", "error", error="down") if failed else Reply(f"{text} {prompt.seed}", "length", 3, 4),
            )


def ask(*texts, seed=0, sampling=None):
    return [Prompt((("user", text),), sampling or Sampling(), seed) for text in texts]


def count(journal):
    return journal._database.execute("SELECT count(*) FROM replies").fetchone()[0]


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def identity(fingerprint, prompt):
    return fingerprint, prompt.messages, prompt.sampling, None if prompt.sampling.temperature == 0 else prompt.seed


@given(st.lists(st.tuples(TEXT, PROMPTS), min_size=2, max_size=2), st.data())
def test_keys_are_equal_exactly_when_the_keyed_fields_are(asked, data):
    (first_name, first), (second_name, second) = asked
    second = data.draw(
        st.sampled_from(
            [
                second,
                replace(first, facts={"person": {}}),
                replace(first, seed=second.seed),
                replace(first, sampling=second.sampling),
                replace(first, messages=second.messages),
            ]
        )
    )
    second_name = data.draw(st.sampled_from([first_name, second_name]))
    same = identity(first_name, first) == identity(second_name, second)
    assert (prompt_key(first_name, first) == prompt_key(second_name, second)) is same


@given(ANY_TEXT, ANY_TEXT)
def test_where_one_message_ends_and_the_next_begins_is_part_of_the_key(left, right):
    whole = Prompt((("user", left + right),))
    parts = Prompt((("user", left), ("user", right)))
    assert prompt_key("m", whole) != prompt_key("m", parts)
    assert len(prompt_key("m", whole)) == 32


def test_a_whole_number_is_the_same_temperature_as_its_float():
    first, second = ask("?", sampling=Sampling(temperature=1)), ask("?", sampling=Sampling(temperature=1.0))
    assert prompt_key("m", first[0]) == prompt_key("m", second[0])


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.binary(min_size=32, max_size=32),
        st.builds(
            Reply,
            ANY_TEXT,
            st.sampled_from(["stop", "length"]),
            st.integers(0, 2**31),
            st.integers(0, 2**31),
        ),
        max_size=20,
    )
)
def test_what_was_put_is_found_again_also_after_closing(tmp_path_factory, replies):
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with Journal(path) as journal:
        for key, reply in replies.items():
            journal.put(key, reply)
        assert journal.get_many([*replies, b"absent"]) == replies
    with Journal(path, readonly=True) as journal:
        assert journal.get_many(list(replies)) == replies
        assert count(journal) == len(replies)


def test_more_keys_than_one_statement_holds(journal):
    keys = [index.to_bytes(32) for index in range(1700)]
    for key in keys[::2]:
        journal.put(key, Reply(str(key)))
    assert set(journal.get_many(keys)) == set(keys[::2])


def test_the_first_reply_under_a_key_stays(journal):
    journal.put(b"key", Reply("first"))
    journal.put(b"key", Reply("second"))
    assert journal.get_many([b"key"])[b"key"].text == "first"


def test_plain_text_can_be_read_with_any_sqlite_tool(journal):
    journal.put(b"key", Reply("油价 4 %"))
    journal.close()
    with sqlite3.connect(journal.path) as database:
        assert database.execute("SELECT text, typeof(text) FROM replies").fetchall() == [("油价 4 %", "text")]
    database.close()


def test_a_closed_journal_is_one_plain_file(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.put(b"key", Reply("yes"))
        assert journal.mode == "wal"
    assert [path.name for path in tmp_path.iterdir()] == ["journal.sqlite"]


def test_a_file_system_without_shared_memory_falls_back(tmp_path, monkeypatch):
    """The dot-file VFS of SQLite has no shared memory, as some network file systems do."""
    connect = sqlite3.connect

    def on_dotfile(name, **options):
        return connect(f"{name}{'&' if '?' in name else '?'}vfs=unix-dotfile", **options)

    monkeypatch.setattr(module.sqlite3, "connect", on_dotfile)
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.mode == "delete"
        journal.put(b"key", Reply("kept"))
    monkeypatch.undo()
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        assert journal.get_many([b"key"])[b"key"].text == "kept"


def test_each_question_is_asked_once_and_every_position_is_answered(journal):
    engine = Counting()
    journaled = Journaled(engine, journal)
    prompts = ask("up", "down", "up", "up", seed=5) + ask("up", seed=6)
    replies = answer_all(journaled, prompts)
    assert [reply.text for reply in replies] == ["up 5", "down 5", "up 5", "up 5", "up 6"]
    assert len(engine.seen) == 3
    assert (journaled.asked, journaled.from_journal, journaled.duplicates, journaled.distinct) == (3, 0, 2, 3)
    assert answer_all(journaled, prompts) == replies
    assert len(engine.seen) == 3
    assert (journaled.asked, journaled.from_journal, journaled.duplicates, journaled.distinct) == (3, 5, 2, 6)


def test_greedy_decoding_ignores_the_seed(journal):
    engine = Counting()
    greedy = Sampling(temperature=0)
    prompts = ask("up", seed=1, sampling=greedy) + ask("up", seed=2, sampling=greedy)
    first, second = answer_all(Journaled(engine, journal), prompts)
    assert first == second
    assert len(engine.seen) == 1


def test_an_error_is_handed_on_and_asked_again(journal):
    engine = Counting(fails={"bad"})
    assert [r.finish for r in answer_all(Journaled(engine, journal), ask("bad", "good", "bad"))] == [
        "error",
        "length",
        "error",
    ]
    assert count(journal) == 1
    engine.fails = ()
    engine.seen.clear()
    assert answer_all(Journaled(engine, journal), ask("bad", "good"))[0].text == "bad 0"
    assert [prompt.messages[0][1] for prompt in engine.seen] == ["bad"]


def test_a_reply_is_stored_before_it_is_handed_on(journal, tmp_path):
    answers = Journaled(Counting(), journal).answer(ask("a", "b", "c"))
    next(answers)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as other:
        assert count(other) == 1
    answers.close()


def test_texts_are_rendered_when_needed_and_only_what_is_missing_reaches_the_engine(journal):
    class Lazy:
        rendered = 0

        def __len__(self):
            return 6

        def __getitem__(self, position):
            self.rendered += 1
            return ask(string.ascii_letters[position])[0]

    engine = Counting()
    answer_all(Journaled(engine, journal), ask("a", "c", "e"))
    engine.seen.clear()
    prompts = Lazy()
    answers = answer_all(Journaled(engine, journal), prompts)
    assert [reply.text[0] for reply in answers] == list("abcdef")
    assert {prompt.messages[0][1] for prompt in engine.seen} == set("bdf")
    assert prompts.rendered == 6 + 3


def test_the_engine_may_take_slices_of_what_is_missing(journal):
    class Slicing(Counting):
        def answer(self, prompts):
            half = len(prompts) // 2
            for offset, part in ((0, prompts[:half]), (half, prompts[half:])):
                yield from ((position + offset, reply) for position, reply in super().answer(part))

    texts = list("abcde")
    replies = answer_all(Journaled(Slicing(), journal), ask(*texts))
    assert [reply.text[0] for reply in replies] == texts


def test_an_engine_that_reads_facts_is_not_journaled(journal):
    with pytest.raises(EngineError, match="reads facts"):
        Journaled(load_engine("baseline"), journal)


def foreign(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()


def newer(path):
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"these are not the replies you look for" * 40), "not a journal; move it away"),
        (foreign, "is not a popsim journal"),
        (newer, "has schema 99, this popsim reads up to 1"),
    ],
    ids=["garbage", "another-database", "newer-schema"],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_an_unusable_file_is_one_line_and_left_alone(tmp_path, spoil, says, readonly):
    path = tmp_path / "journal.sqlite"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(EngineError, match=says) as caught:
        Journal(path, readonly=readonly)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(EngineError, match="its folder must exist and be writable"):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_a_damaged_file_says_so(tmp_path):
    path = tmp_path / "journal.sqlite"
    keys = [index.to_bytes(32) for index in range(300)]
    with Journal(path) as journal:
        for key in keys:
            journal.put(key, Reply("x" * 500))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with Journal(path) as journal, pytest.raises(EngineError, match="damaged; put a copy in its place"):
        journal.get_many(keys)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = tmp_path / "journal.sqlite"
    came = []
    with Journal(path) as journal:
        journal._database.execute("PRAGMA max_page_count = 20")
        prompts = ask(*(f"{index:04d}" + "x" * 2000 for index in range(200)))
        answers = Journaled(Counting(), journal).answer(prompts)
        with pytest.raises(EngineError, match="disk is full; what was stored is kept: free some space"):
            came.extend(answers)
    assert 10 < len(came) < 200
    with Journal(path) as journal:
        engine = Journaled(Counting(), journal)
        replies = answer_all(engine, prompts)
    assert engine.from_journal >= len(came)
    assert all(replies[position] == reply for position, reply in came)


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    about = {"fingerprint": "counting", "reads": "text", "reproducible": "exact", "notice": "No model."}
    (folder / "manifest.json").write_text(json.dumps({"state": "complete", "engine": about}))
    with Journal(folder / "journal.sqlite") as journal:
        answer_all(Journaled(Counting(), journal), ask("up", "down", seed=3))
    return folder


def test_replay_gives_the_stored_replies_under_the_engines_own_name(run_folder):
    before = (run_folder / "journal.sqlite").read_bytes()
    engine = load_engine(f"replay:{run_folder}")
    assert (engine.fingerprint, engine.reads, engine.reproducible, engine.notice) == (
        "counting",
        "text",
        "exact",
        "No model.",
    )
    replies = answer_all(engine, ask("down", "up", "down", "sideways", seed=3) + ask("up", seed=4))
    assert [reply.text for reply in replies] == ["down 3", "up 3", "down 3", "", ""]
    assert [reply.finish for reply in replies] == ["length"] * 3 + ["error"] * 2
    assert str(run_folder) in replies[3].error
    assert (run_folder / "journal.sqlite").read_bytes() == before


def test_a_replay_can_be_journaled_like_any_engine(run_folder, journal):
    engine = Journaled(load_engine(f"replay:{run_folder}"), journal)
    assert [reply.text for reply in answer_all(engine, ask("up", "other", seed=3))] == ["up 3", ""]
    assert count(journal) == 1


def test_a_run_can_be_replayed_while_it_is_written(run_folder):
    with Journal(run_folder / "journal.sqlite") as writer:
        engine = load_engine(f"replay:{run_folder}")
        answer_all(Journaled(Counting(), writer), ask("late", seed=3))
        assert answer_all(engine, ask("late", seed=3))[0].text == "late 3"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: run.rename(run.with_name("gone")), "no such folder"),
        (lambda run: (run / "manifest.json").unlink(), "no manifest.json"),
        (lambda run: (run / "journal.sqlite").unlink(), "no journal.sqlite there.*run counting again"),
        (lambda run: (run / "manifest.json").write_text("{"), "does not describe one engine"),
        (lambda run: (run / "manifest.json").write_text('{"engine": null}'), "does not describe one engine"),
        (lambda run: (run / "manifest.json").write_text("{}"), "does not describe one engine"),
    ],
    ids=["no-folder", "no-manifest", "no-journal", "broken-manifest", "no-engine", "several-engines"],
)
def test_a_folder_that_cannot_be_replayed_says_why(run_folder, spoil, says):
    spoil(run_folder)
    with pytest.raises(EngineError, match=says) as caught:
        load_engine(f"replay:{run_folder}")
    assert "\n" not in str(caught.value)


def test_what_a_held_reply_left_out_is_kept_and_a_journal_from_before_can_be_read_and_continued(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.put(b"free", Reply("a"))
        journal.put(b"held", Reply("b", outside=0.25))
        found = journal.get_many([b"free", b"held"])
    assert [found[key].outside for key in (b"free", b"held")] == [None, 0.25]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DROP TABLE held")
    with Journal(path, readonly=True) as journal:
        assert journal.get_many([b"held"])[b"held"].outside is None
    with Journal(path) as journal:
        journal.put(b"more", Reply("c", outside=0.5))
        assert journal.get_many([b"held", b"more"])[b"more"].outside == 0.5
