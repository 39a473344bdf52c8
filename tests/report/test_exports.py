import numpy as np
import pandas as pd
import pyreadstat
import pytest

from popsim.report.exports import export, responses
from popsim.study.pages import gather

READERS = {"dta": pyreadstat.read_dta, "sav": pyreadstat.read_sav}


@pytest.fixture(scope="module", params=["dta", "sav"])
def exported(request, evil, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    files = export(gather(evil), folder, request.param)
    return request.param, {path.stem: path for path in files}


def text(column):
    return column.astype(object).where(column.notna(), "").astype(str).tolist()


@pytest.mark.parametrize("name", ["answers", "people"])
def test_tables_read_back_equal_the_parquet(exported, evil, name):
    kind, files = exported
    original = getattr(evil, name)
    labelled, _ = READERS[kind](str(files[name]), apply_value_formats=True)
    plain, _ = READERS[kind](str(files[name]))
    assert len(labelled) == len(original)
    assert labelled.columns.tolist() == original.columns.tolist()
    for column in original:
        if pd.api.types.is_numeric_dtype(original[column]):
            np.testing.assert_array_equal(plain[column].to_numpy(float), original[column].to_numpy(float))
        else:
            assert text(labelled[column]) == text(original[column]), column


def test_variables_and_values_carry_their_labels(exported):
    kind, files = exported
    _, about = READERS[kind](str(files["responses"]))
    assert about.column_names_to_labels["mood"] == "Mood?"
    assert about.column_names_to_labels["many_2"] == "green: Which?"
    assert about.column_names_to_labels["mood_status"] == "What became of the answer: mood"
    assert about.variable_value_labels["mood"] == {1: "bad", 5: "good"}
    assert about.variable_value_labels["pick"][1] == "no"
    assert about.variable_value_labels["arm"] == {0: "one", 1: "other"}


def test_there_is_one_row_per_respondent_and_wave_and_failures_are_missing(evil):
    wide = responses(evil.answers, evil.people)
    assert len(wide) == 60 * 2
    answers = evil.answers
    for name in ("rate", "mood"):
        mine = answers[answers["question"].eq(name)].set_index(["person", "wave"])
        found = wide.set_index(["person", "wave"]).loc[mine.index]
        ok = mine["status"].eq("ok")
        assert 0 < (~ok).sum() < len(ok)
        np.testing.assert_array_equal(found.loc[ok, name], mine.loc[ok, "value"])
        assert found.loc[~ok, name].isna().all()
        assert found[f"{name}_status"].astype(str).tolist() == mine["status"].astype(str).tolist()
    dont_know = answers[answers["question"].eq("pick") & answers["status"].eq("dont_know")]
    assert (
        wide.set_index(["person", "wave"])
        .loc[list(zip(dont_know["person"], dont_know["wave"], strict=True)), "pick"]
        .isna()
        .all()
    )


def test_csv_reads_back_and_the_codebook_names_every_variable(evil, tmp_path):
    files = {path.name: path for path in export(gather(evil), tmp_path, "csv")}
    back = pd.read_csv(files["answers.csv"])
    assert back["value"].equals(evil.answers["value"])
    assert text(back["label"]) == text(evil.answers["label"])
    book = files["codebook.md"].read_text(encoding="utf-8")
    assert "<script>" not in book.replace("\\<", "")
    for column in pd.read_csv(files["responses.csv"]).columns:
        assert f"| {column} |" in book.replace("\\", "")


def test_swept_paths_get_names_that_the_programs_take(swept, tmp_path):
    files = {path.stem: path for path in export(gather(swept), tmp_path, "dta")}
    found, about = pyreadstat.read_dta(str(files["answers"]))
    assert about.column_names_to_labels["news_0_reach"] == "Swept: news.0.reach"
    np.testing.assert_array_equal(found["news_0_reach"], swept.answers["news.0.reach"])
    wide, _ = pyreadstat.read_dta(str(files["responses"]))
    assert len(wide) == 6 * 3 * 40
    assert "people" not in files


def test_long_texts_and_labels_survive(evil, tmp_path):
    material = gather(evil)
    answers = material.tables["answers"].copy()
    answers.loc[answers["question"].eq("why"), "label"] = "ü" * 40_000
    for kind, read in READERS.items():
        changed = type(material)(material.manifest, material.scenario, {"answers": answers})
        if kind == "sav":
            answers["label"] = answers["label"].str.slice(0, 10_000)
        files = {path.stem: path for path in export(changed, tmp_path, kind)}
        back, _ = read(str(files["answers"]))
        assert text(back["label"]) == text(answers["label"])
