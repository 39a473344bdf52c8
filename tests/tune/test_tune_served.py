"""An adapter trained here gives the same option probabilities on the transformers and on the vllm engine."""

import json
import os
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from tiny import make_tiny_checkpoint

from popsim.engines import Prompt, answer_all, load_engine
from popsim.errors import EngineError
from popsim.tune import formats
from popsim.tune.adapter import tune_adapter
from popsim.tune.adapter_config import AdapterConfig
from popsim.tune.asking import ask_group
from popsim.tune.records import Item, Shares

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.filterwarnings("ignore"),
]
ITEM = Item("trust", "Trust?", options=("yes", "maybe", "no"))
GROUPS = [Shares("X: one", ITEM, (0.7, 0.2, 0.1)), Shares("X: two", ITEM, (0.1, 0.3, 0.6))]
KEPT = []
"""One vLLM engine that ends takes from the others of its process what they share."""


@pytest.mark.parametrize("modules", ["all", ["q_proj", "v_proj", "lm_head"]], ids=["layers", "lm_head"])
def test_both_engines_serve_the_same_probabilities(tmp_path, modules):
    for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}.items():
        os.environ.setdefault(name, value)
    base = make_tiny_checkpoint(tmp_path / "tiny", "float32", context=1024, width=128)
    formats.write_subpop(tmp_path / "groups.jsonl", GROUPS)
    stage = {
        "name": "task",
        "data": {"file": str(tmp_path / "groups.jsonl"), "format": "subpop"},
        "loss": {"kind": "first_token_kl"},
        "epochs": 40,
        "learning_rate": 0.01,
    }
    config = {"kind": "adapter", "name": "mine", "title": "M", "base": str(base), "device": "cpu", "stages": [stage]}
    config["lora"] = {"modules": modules}
    tune_adapter(AdapterConfig.model_validate(config), tmp_path / "out")
    asked = [ask_group(one) for one in GROUPS]
    found = {}
    for engine in ("transformers", "vllm"):
        KEPT.append(load_engine(f"{engine}:{base}", dtype="float32", adapters={"mine": str(tmp_path / "out")}))
        for adapter in ("", "mine"):
            prompts = [
                Prompt((("user", one.text),), prefill=one.prefill, choices=tuple(one.letters), adapter=adapter)
                for one in asked
            ]
            found[engine, adapter] = np.array([json.loads(reply.text) for reply in answer_all(KEPT[-1], prompts)])
    for adapter in ("", "mine"):
        assert found["vllm", adapter] == pytest.approx(found["transformers", adapter], abs=1e-3)
    tuned = {name: rows / rows.sum(axis=1, keepdims=True) for name, rows in found.items()}
    assert tuned["vllm", "mine"] == pytest.approx(tuned["transformers", "mine"], abs=1e-3)
    assert np.abs(tuned["vllm", "mine"] - tuned["vllm", ""]).max() > 0.1
    assert tuned["vllm", "mine"] == pytest.approx(np.array([one.shares for one in GROUPS]), abs=0.1)


def test_an_adapter_of_an_output_layer_that_vllm_cannot_tune_is_refused_before_the_model_loads(tmp_path):
    """vLLM's class of Qwen2 takes no adapter for lm_head; there are no weights here, so none can have been loaded."""
    from transformers import AutoTokenizer, Qwen2Config

    base = make_tiny_checkpoint(tmp_path / "tiny", "float32", context=1024, width=128)
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "qwen")
    Qwen2Config(vocab_size=300, architectures=["Qwen2ForCausalLM"]).save_pretrained(tmp_path / "qwen")
    made = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "", "target_modules": ["q_proj", "lm_head"]}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "adapter_config.json").write_text(json.dumps(made))
    (tmp_path / "mine" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        load_engine(f"vllm:{tmp_path / 'qwen'}", dtype="float32", adapters={"mine": str(tmp_path / "mine")})
    assert f"adapters: mine: {tmp_path / 'mine'} changes the output layer (lm_head)" in str(caught.value)
    assert "in Qwen2ForCausalLM; take the engine transformers, or tune without lm_head" in str(caught.value)
    assert "\n" not in str(caught.value)
