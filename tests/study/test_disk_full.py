"""A disk that fills up in the middle of a run: one line, nothing stored is lost, and the same command goes on."""

import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

import popsim

SIZE = 300
ENGINE = """
import json
from engines_for_tests import Seeded, in_parts, GOOD

class Long(Seeded):
    fingerprint = "long/1"

    def text(self, prompt):
        return super().text(prompt).replace("<recall>", "<recall>" + f"I remember {prompt.seed}. " * 150)
"""
POPSIM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from popsim.cli import main
sys.argv = ["popsim", "run", "oil_price_fall", "--size", "{SIZE}", "--engine", "long_engine:Long", "--out", sys.argv[1]]
main()
"""
SMALL_DISK = """
set -e
mkdir disk
mount -t tmpfs -o size=24m none disk
head -c 23000000 /dev/zero > disk/ballast
set +e
"$1" run.py disk/run 2> first; echo $? > first.status
cp -r disk/run before
rm disk/ballast
"$1" run.py disk/run 2> second; echo $? > second.status
cp -r disk/run after
"""
TABLES = ("answers", "replies", "distributions", "people", "states", "heard", "assignment")


def can_mount(tmp_path):
    """Whether this user may have a small file system of their own."""
    command = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def stored(folder):
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        return {bytes(key): text for key, text in journal.execute("SELECT key, text FROM replies")}


@pytest.fixture(autouse=True)
def _files():
    Path("long_engine.py").write_text(ENGINE)
    Path("run.py").write_text(POPSIM)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "long_engine.py").write_text(ENGINE)
    (folder / "run.py").write_text(POPSIM)
    subprocess.run([sys.executable, "run.py", "undisturbed"], cwd=folder, capture_output=True, check=True)
    return popsim.load_run(folder / "undisturbed")


def command(out, limit=None):
    set_limit = limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    return subprocess.run(
        [sys.executable, "run.py", out], capture_output=True, text=True, check=False, preexec_fn=set_limit
    )


def check(before, after, undisturbed):
    """What was stored before is there after, was not asked again, and the tables are those of an undisturbed run."""
    whole = stored(undisturbed.path)
    assert 20 < len(before) < SIZE
    assert before.items() <= whole.items()
    assert stored(after.path) == whole
    assert after.manifest["state"] == "complete"
    assert after.manifest["counts"]["from_journal"] == len(before)
    assert after.manifest["counts"]["asked"] == SIZE - len(before)
    for name in TABLES:
        assert_frame_equal(getattr(after, name), getattr(undisturbed, name))


def says_one_line(errors):
    last = errors.strip().splitlines()[-1]
    assert last.startswith("popsim: journal ")
    assert "free some space and run the same command again" in last or "check the disk and its free space" in last
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_full_file_system(undisturbed, tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("this user cannot mount a small file system")
    script = ["unshare", "--mount", "--map-root-user", "bash", "-c", SMALL_DISK, "bash", sys.executable]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("first.status").read_text() == "2\n"
    says_one_line(Path("first").read_text())
    assert "is full" in Path("first").read_text()
    assert Path("second.status").read_text() == "0\n", Path("second").read_text()
    before = stored(Path("before"))
    check(before, popsim.load_run("after"), undisturbed)


def test_a_file_that_may_not_grow(undisturbed):
    broken = command("broken", limit=400_000)
    assert broken.returncode == 2
    says_one_line(broken.stderr)
    before = stored(Path("broken"))
    assert command("broken").returncode == 0
    check(before, popsim.load_run("broken"), undisturbed)


@pytest.mark.slow
def test_tables_that_cannot_be_written_end_in_one_line_and_lose_nothing(undisturbed):
    assert command("broken").returncode == 0
    Path("broken/answers.parquet").unlink()
    manifest = Path("broken/manifest.json")
    manifest.write_text(manifest.read_text().replace('"state": "complete"', '"state": "running"'))
    failed = command("broken", limit=15_000)
    assert failed.returncode == 2
    assert "cannot be written: File too large; what was answered is stored" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    assert not [path for path in Path("broken").iterdir() if path.name.startswith(".")]
    assert command("broken").returncode == 0
    after = popsim.load_run("broken")
    assert after.manifest["counts"]["from_journal"] == SIZE
    assert_frame_equal(after.answers, undisturbed.answers)
