import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

import popsim

STUDY = {
    "name": "dose",
    "title": "Dose",
    "population": "us_adults_2018",
    "size": 10,
    "questionnaire": "oil_price",
    "arms": {"rise": {}},
    "news": [{"name": "n", "text": "News.", "source": "radio", "reach": 0.5}],
    "engine": "baseline",
    "sweep": {
        "people.confidence": ["extremely weak", "weak", "moderate", "strong", "extremely strong"],
        "news.0.reach": [0.0, 0.25, 0.5, 0.75, 1.0],
    },
    "replicates": 4,
}
SWEEP = "import popsim; popsim.sweep(list(popsim.sweep_points('dose.yaml')), 4, 'killed')"


@pytest.mark.slow
def test_a_sweep_gives_one_table_pooled_point_by_point_and_after_a_kill(tmp_path):
    (tmp_path / "dose.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    points = list(popsim.sweep_points("dose.yaml"))
    whole = popsim.sweep(points, 4, "whole")

    for folders in (60, 120):  # of 100: while they are begun, then while they are filled
        process = subprocess.Popen([sys.executable, "-c", SWEEP], env=os.environ | {"OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            begun = len(list(tmp_path.glob("killed/point*")))
            filled = len(list(tmp_path.glob("killed/point*/answers.parquet")))
            if begun + filled >= folders:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.wait()
        assert not (tmp_path / "killed" / "answers.parquet").exists()
    pd.testing.assert_frame_equal(popsim.sweep(points, 4, "killed"), whole)
    assert len(popsim.load_run("killed").manifest["starts"]) >= 2

    parts = [
        popsim.run(point.scenario.replicate(number), f"single/{point.number}-{number}")
        .answers.assign(replicate=number, **point.values)
        for point in points
        for number in range(4)
    ]  # fmt: skip
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_categorical=False)
