"""One study on every engine that runs the same checkpoint: equal tables under greedy decoding, equal option shares."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

import popsim
from popsim.engines import open_engine
from popsim.engines.nano import SHIPPED

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]
GREEDY = {"sampling.temperature": 0, "sampling.max_tokens": 400, "seed": 3}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A real vLLM server on loopback with nano's files."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("server") / "log").open("wb")
    options = ["--model", str(SHIPPED), "--served-model-name", "nano", "--dtype", "float32", "--max-model-len", "2048"]
    options += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", "--enforce-eager"]
    options += ["--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options], stdout=log, stderr=log, env=environment
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def _wait(address, server):
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not come up")


def engines(url):
    yield "transformers", (f"transformers:{SHIPPED}", {"dtype": "float32"}, 1)
    yield "vllm", (f"vllm:{SHIPPED}", {"dtype": "float32"}, 1)
    yield "server", (f"server:nano@{url}", {}, 1)
    if find_spec("ray") is not None:
        yield "workers", ("nano", {"threads": 1}, 2)


@pytest.mark.parametrize("name", ["oil_price_fall", "learning_platform_cn"])
def test_greedy_tables_are_equal_on_every_engine(name, url, tmp_path):
    scenario = popsim.load_scenario(name, {**GREEDY, "size": 8})
    ours = popsim.run(scenario, tmp_path / "nano")
    for who, (spec, options, workers) in engines(url):
        with open_engine(spec, options, workers) as engine:
            theirs = popsim.run(scenario, tmp_path / who, engine=engine)
        assert_frame_equal(theirs.answers, ours.answers)
        assert theirs.replies["text"].tolist() == ours.replies["text"].tolist(), who
        assert theirs.manifest["failures"] == ours.manifest["failures"]


def test_option_shares_are_equal_on_every_engine(url, tmp_path):
    asked = {"seed": 3, "size": 6, "readout": "choice", "prompt.reasoning": False}
    scenario = popsim.load_scenario("learning_platform_cn", asked)
    ours = popsim.run(scenario, tmp_path / "nano").distributions
    assert len(ours)
    for who, (spec, options, workers) in engines(url):
        with open_engine(spec, options, workers) as engine:
            theirs = popsim.run(scenario, tmp_path / who, engine=engine).distributions
        assert theirs["question"].tolist() == ours["question"].tolist()
        np.testing.assert_allclose(theirs["probability"], ours["probability"], atol=1e-3, err_msg=who)
