import shutil
import subprocess
import sys

import pytest

from popsim.cli import reporting


def test_report_and_export_say_what_they_wrote(call, oil, tmp_path):
    copy = shutil.copytree(oil.path, tmp_path / "run")
    assert call("report", copy) == (0, f"Written to {copy / 'report.html'}\n", "")
    status, out, _ = call("export", copy, "--to", "sav")
    assert status == 0
    assert out.splitlines()[-1] == f"{copy / 'export' / 'codebook.md'} written"
    assert {path.name for path in (copy / "export").iterdir()} == {
        "answers.sav", "codebook.md", "people.sav", "responses.sav"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("report", "nowhere"),
            "popsim: nowhere: is not a Run folder: it has no manifest.json; popsim run makes one\n",
        ),
        (("export", "nowhere", "--to", "xls"), "popsim: --to xls: is unknown; allowed: csv, dta, sav\n"),
    ],
)
def test_bad_input_is_one_line(call, arguments, message):
    assert call(*arguments) == (2, "", message)


def test_a_missing_package_is_named_with_its_extra(call, monkeypatch, oil):
    monkeypatch.setattr(reporting, "find_spec", lambda name: None if name in ("altair", "pyreadstat") else name)
    _, _, err = call("report", oil.path)
    assert err == "popsim: popsim report: needs altair; run: pip install 'popsim[report]'\n"
    _, _, err = call("export", oil.path, "--to", "dta")
    assert err == "popsim: popsim export: needs pyreadstat; run: pip install 'popsim[report]'\n"


def test_a_run_writes_its_methods_without_a_drawing_library():
    code = "import sys, popsim.study.study; print(sorted(set(sys.modules) & {'altair', 'jinja2', 'vl_convert'}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
