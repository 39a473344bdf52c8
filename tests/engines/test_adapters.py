"""LoRA adapters on the transformers engine, against peft's own generate."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from tiny import make_tiny_checkpoint  # noqa: E402

from popsim.engines import Prompt, Sampling, answer_all, load_engine  # noqa: E402
from popsim.errors import EngineError  # noqa: E402

pytestmark = pytest.mark.usefixtures("_one_thread")
GREEDY = Sampling(temperature=0, max_tokens=16)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def make_adapter(checkpoint, folder, seed):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    made = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.5)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return {name: str(make_adapter(checkpoint, folder / name, seed)) for seed, name in enumerate(["left", "lora"])}


def make_prompts(count, adapter=""):
    return [
        Prompt((("user", "How sure are you? " * (index % 5 + 1)),), GREEDY, index, adapter=adapter)
        for index in range(count)
    ]


def generate(checkpoint, engine, folder, prompt):
    """What peft itself writes greedily."""
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    model = peft.PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)
    ids = torch.from_numpy(engine._texts.read(prompt.messages)[1].astype(np.int64))[None]
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
    return engine._texts.write(written[0, ids.shape[1] :].tolist())


def test_each_prompt_is_answered_through_its_own_adapter(checkpoint, adapters):
    bare = load_engine(f"transformers:{checkpoint}")
    engine = load_engine(f"transformers:{checkpoint}", adapters=adapters, batch_size=4)
    assert "adapter" in engine.abilities
    assert "adapter" not in bare.abilities
    kinds = ["left", "", "lora"]
    mixed = [replace(prompt, adapter=kinds[i % 3]) for i, prompt in enumerate(make_prompts(24))]
    replies = answer_all(engine, mixed)
    assert replies[1::3] == answer_all(bare, [replace(prompt, adapter="") for prompt in mixed])[1::3]
    for name, start in (("left", 0), ("lora", 2)):
        for prompt, reply in zip(mixed[start::3], replies[start::3], strict=True):
            assert reply.text == generate(checkpoint, engine, adapters[name], prompt)
    texts = [{reply.text for reply in answer_all(engine, make_prompts(5, kind))} for kind in kinds]
    assert texts[0] != texts[1] != texts[2] != texts[0]


def test_choices_and_next_tokens_go_through_the_adapter(checkpoint, adapters):
    engine = load_engine(f"transformers:{checkpoint}", adapters=adapters)
    asked = [(prompt, ()) for kind in ("left", "lora", "") for prompt in make_prompts(2, kind)]
    logs = engine.next_logprobs(asked, [37, 38])
    scored = answer_all(engine, [replace(prompt, choices=("F", "G")) for prompt, _ in asked])
    tokens = engine._texts._tokenizer.convert_tokens_to_ids(["F", "G"])
    np.testing.assert_allclose(
        [json.loads(reply.text) for reply in scored], np.exp(engine.next_logprobs(asked, tokens)), rtol=0, atol=1e-9
    )
    assert len({round(row[0], 9) for row in logs}) == 6


def test_an_unknown_adapter_fails_alone(checkpoint, adapters):
    engine = load_engine(f"transformers:{checkpoint}", adapters=adapters)
    replies = answer_all(engine, [*make_prompts(1, "right"), *make_prompts(1, "left")])
    assert (
        replies[0].error == "adapter 'right' is unknown; loaded: left, lora; give the option adapters: {NAME: FOLDER}"
    )
    assert replies[1].finish != "error"
    (reply,) = answer_all(load_engine(f"transformers:{checkpoint}"), make_prompts(1, "left"))
    assert "adapter 'left' is unknown; loaded: none" in reply.error


def test_the_fingerprint_names_adapters_by_content(checkpoint, adapters, tmp_path):
    def name(**folders):
        return load_engine(f"transformers:{checkpoint}", adapters=folders).fingerprint

    bare = load_engine(f"transformers:{checkpoint}").fingerprint
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in ("adapter_config.json", "adapter_model.safetensors"):
        (moved / path).write_bytes((tmp_path.__class__(adapters["left"]) / path).read_bytes())
    assert name(one=adapters["left"]) == name(one=str(moved))
    assert len({bare, name(one=adapters["left"]), name(two=adapters["left"]), name(one=adapters["lora"])}) == 4


def other_base(checkpoint, folder):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(checkpoint, hidden_size=64))
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)


def other_layers(checkpoint, folder):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(checkpoint, num_hidden_layers=1))
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)


def edit(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c, f: other_base(c, f), "does not fit this model"),
        (lambda c, f: other_layers(c, f), "does not fit this model"),
        (lambda c, f: edit(f, target_modules=["elsewhere"]), "does not fit this model"),
        (lambda c, f: edit(f, peft_type="IA3"), "is a IA3 adapter; only LORA is allowed"),
        (lambda c, f: (f / "adapter_config.json").unlink(), "no adapter_config.json in"),
        (lambda c, f: (f / "adapter_config.json").write_text("["), "cannot be read"),
        (lambda c, f: (f / "adapter_model.safetensors").unlink(), "lacks adapter_model.safetensors"),
    ],
    ids=["shape", "layers", "modules", "kind", "no-config", "bad-config", "no-weights"],
)
@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_that_cannot_be_used_says_why_in_one_line(checkpoint, adapters, tmp_path, spoil, says, first):
    folder = make_adapter(checkpoint, tmp_path / "spoilt", 5)
    spoil(checkpoint, folder)
    named = {"a" if first else "z": str(folder)} | ({} if first else {"left": adapters["left"]})
    with pytest.raises(EngineError, match=says) as caught:
        load_engine(f"transformers:{checkpoint}", adapters=named)
    assert "\n" not in str(caught.value)
    assert f"adapter {'a' if first else 'z'}" in str(caught.value)


@pytest.mark.parametrize("given", [{"": "x"}, {"a": 1}, "left", ["left"]])
def test_adapters_must_be_named_folders(checkpoint, given):
    with pytest.raises(EngineError, match="adapters must map names to folders"):
        load_engine(f"transformers:{checkpoint}", adapters=given)


def test_an_adapter_of_another_hub_model_is_told_by_its_name(checkpoint, adapters, tmp_path):
    from popsim.engines.local.adapters import Adapters

    folder = make_adapter(checkpoint, tmp_path / "other", 5)
    edit(folder, base_model_name_or_path="Somebody/Other-3B")
    with pytest.raises(EngineError, match="was made for Somebody/Other-3B; load that model"):
        Adapters(None, "Somebody/This-3B", {"a": str(folder)})
