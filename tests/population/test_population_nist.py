"""A real seed of microdata: one half of the records makes people, the other half judges them."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "nist_acs_excerpt_2018.csv.gz"


@pytest.fixture(scope="module")
def benchmark():
    if not DATA.exists():
        pytest.skip("the excerpt of NIST is not here")
    path = ROOT / "benchmarks" / "population_nist.py"
    made = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


def test_three_way_tables_are_closer_with_a_seed_than_without(benchmark):
    adults = benchmark.read_adults(DATA)
    assert len(adults) == 21832
    found = benchmark.compare_split(adults, number=3, size=50_000, repairs=[0.0, 0.2]).set_index("way")
    assert found["converged"].all()
    three = found["3-way"]
    assert three["pairwise, seed, repair 0"] < 0.97 * three["pairwise, no seed"]
    assert three["pairwise, seed, repair 0.2"] < 0.95 * three["pairwise, no seed"]
    assert three["pairwise, seed, repair 0.2"] < 0.3 * three["independent"]
    assert found.loc["pairwise, seed, repair 0", "recovered"] == 0
    assert found.loc["pairwise, seed, repair 0.2", "recovered"] > 0.5 * found["truth_new"].max()
