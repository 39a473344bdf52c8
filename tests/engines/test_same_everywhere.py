"""One study on every engine that runs the same checkpoint: equal tables under greedy decoding, equal option shares."""

import json
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
from popsim.engines.nano import SHIPPED

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_worker_niceness": "0",
}


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
    server = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options],
        stdout=log,
        stderr=log,
        env=os.environ | ENVIRONMENT,
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


RUN = "import json, sys, popsim; popsim.run(popsim.load_scenario(sys.argv[1], json.loads(sys.argv[2])), sys.argv[3])"


def run(name, overrides, folder):
    """Run a study in a process of its own: two vLLM engines do not live together in one."""
    command = [sys.executable, "-c", RUN, name, json.dumps(overrides), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    return popsim.load_run(folder)


def engines(url):
    yield "transformers", {"spec": f"transformers:{SHIPPED}", "options": {"dtype": "float32"}}
    yield "vllm", {"spec": f"vllm:{SHIPPED}", "options": {"dtype": "float32"}}
    yield "server", {"spec": f"server:nano@{url}"}
    if find_spec("ray") is not None:
        yield "workers", {"spec": "nano", "options": {"threads": 1}, "workers": 2}


@pytest.mark.parametrize("name", ["oil_price_fall", "learning_platform_cn"])
def test_greedy_tables_are_equal_on_every_engine(name, url, tmp_path):
    asked = {"sampling.temperature": 0, "sampling.max_tokens": 400, "seed": 3, "size": 8}
    ours = run(name, asked, tmp_path / "nano")
    for who, engine in engines(url):
        theirs = run(name, asked | {"engine": engine}, tmp_path / who)
        assert theirs.replies["text"].tolist() == ours.replies["text"].tolist(), who
        assert_frame_equal(theirs.answers, ours.answers)
        assert theirs.manifest["failures"] == ours.manifest["failures"]


def test_option_shares_are_equal_on_every_engine(url, tmp_path):
    asked = {"seed": 3, "size": 6, "readout": "choice", "prompt.reasoning": False}
    ours = run("learning_platform_cn", asked, tmp_path / "nano").distributions
    assert len(ours)
    for who, engine in engines(url):
        theirs = run("learning_platform_cn", asked | {"engine": engine}, tmp_path / who).distributions
        assert theirs["question"].tolist() == ours["question"].tolist()
        np.testing.assert_allclose(theirs["probability"], ours["probability"], atol=1e-3, err_msg=who)
