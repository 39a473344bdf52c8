"""What prompts share is computed once, batches fit the memory, and neither changes an answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny import make_tiny_checkpoint  # noqa: E402

from popsim.engines import Prompt, Sampling, answer_all, load_engine  # noqa: E402
from popsim.engines.local.memory import MOST, footprint, rows_that_fit  # noqa: E402
from popsim.engines.local.prefix import SHORTEST, families  # noqa: E402

pytestmark = pytest.mark.usefixtures("_one_thread")
SHARED = "Prices will rise, stay or fall. How sure are you? " * 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def make_prompts(count, sampling, **values):
    """Two questionnaires, each shared by many people of whom some have much to say."""
    return [
        Prompt(
            (("user", f"{'Rise' if index % 2 else 'Fall'}. {SHARED}You are {index}. {'Sure. ' * (index % 7)}"),),
            sampling,
            index,
            **values,
        )
        for index in range(count)
    ]


def count_computed(engine, monkeypatch):
    """Count the tokens that go through the model, padding included."""
    whole, counted = engine._model.forward, []

    def forward(*arguments, **named):
        counted.append(named["input_ids"].numel())
        return whole(*arguments, **named)

    monkeypatch.setattr(engine._model, "forward", forward)
    return counted


@pytest.mark.parametrize("sampling", [Sampling(temperature=0, max_tokens=12), Sampling(max_tokens=12)])
def test_a_shared_beginning_is_computed_once_and_changes_no_answer(checkpoint, monkeypatch, sampling):
    prompts = make_prompts(64, sampling)
    apart, together = (load_engine(f"transformers:{checkpoint}") for _ in range(2))
    apart._shares = False
    counted = [count_computed(engine, monkeypatch) for engine in (apart, together)]
    expected, found = answer_all(apart, prompts), answer_all(together, prompts)
    assert found == expected
    assert sum(counted[1]) < 0.5 * sum(counted[0])


def test_next_tokens_and_choices_share_too(checkpoint, monkeypatch):
    prompts = make_prompts(32, Sampling(), choices=("A", "B"))
    apart, together = (load_engine(f"transformers:{checkpoint}") for _ in range(2))
    apart._shares = False
    counted = [count_computed(engine, monkeypatch) for engine in (apart, together)]
    asked = [(prompt, way) for prompt in prompts[:4] for way in [(), (17,), (17, 18), *((k,) for k in range(30, 50))]]
    found = [engine.next_logprobs(asked, [5, 6, 7]) for engine in (apart, together)]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-9)
    assert sum(counted[1]) < 0.2 * sum(counted[0])
    scored = [[reply.text for reply in answer_all(engine, prompts)] for engine in (apart, together)]
    assert [[f"{float(part):.9f}" for part in text.strip("[]").split(",")] for text in scored[0]] == [
        [f"{float(part):.9f}" for part in text.strip("[]").split(",")] for text in scored[1]
    ]


def test_models_that_do_not_remember_tokens_one_by_one_share_nothing(checkpoint, copy):
    assert load_engine(f"transformers:{checkpoint}")._shares
    config = transformers.AutoConfig.for_model(
        "mistral", vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=16, eos_token_id=2, max_position_embeddings=512,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(copy)
    assert not load_engine(f"transformers:{copy}")._shares


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 5), st.integers(0, 9)), max_size=40),
    st.integers(1, 8),
)
def test_families_are_a_partition_and_share_what_they_say(made, least):
    """Rows: one of four beginnings, cut somewhere, then some tokens of their own."""
    rows = [
        np.array([*range(100 * kind, 100 * kind + size), *([500 + own] * more)], np.int32)
        for kind, size, more, own in made
    ]
    groups = families(rows, least)
    assert sorted(i for members, _ in groups for i in members) == list(range(len(rows)))
    for members, shared in groups:
        if shared:
            assert len(members) >= min(least, len(rows))
            assert shared >= SHORTEST
            assert len({tuple(rows[i][:shared]) for i in members}) == 1
            assert all(len(rows[i]) > shared for i in members)


def test_people_of_one_questionnaire_are_a_family():
    rng = np.random.default_rng(0)
    start = [np.arange(1000 * kind, 1000 * kind + 300) for kind in (1, 2)]
    rows = [np.append(start[i % 2], rng.integers(0, 99, rng.integers(20, 80))).astype(np.int32) for i in range(100)]
    groups = families(rows, 16)
    assert sorted((len(members), shared >= 300) for members, shared in groups) == [(50, True), (50, True)]
    assert all(len({i % 2 for i in members}) == 1 for members, _ in groups)


def test_memory_is_counted_as_the_cache_holds_it(checkpoint):
    engine = load_engine(f"transformers:{checkpoint}")
    cache = engine._new_cache()
    ids = torch.ones((3, 50), dtype=torch.long)
    engine._forward(ids, torch.ones_like(ids), cache, "")
    held = sum(part.numel() * part.itemsize for layer in cache.layers for part in (layer.keys, layer.values))
    cost = footprint(engine._model.config, engine._model.dtype.itemsize)
    assert cost.kept * 3 * 50 == held
    assert cost.row(50, 10) > cost.kept * 60 + cost.drawing


def test_batches_grow_with_the_memory_and_stay_within_bounds():
    sizes = [rows_that_fit(free, 10**8) for free in range(0, 10**11, 10**9)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1, MOST)
    assert all(size == 1 or size * 10**8 < free for free, size in zip(range(0, 10**11, 10**9), sizes, strict=True))


def test_a_gpu_begins_with_what_its_memory_holds(checkpoint, monkeypatch):
    engine = load_engine(f"transformers:{checkpoint}")
    assert engine.batch_size == 16
    engine.batch_size, engine._footprint = MOST, footprint(engine._model.config, 8)
    row = engine._read(0, make_prompts(1, Sampling(max_tokens=9))[0])
    cost = engine._footprint.row(len(row.ids), 9)
    for name, value in {"mem_get_info": (10 * cost, 0), "memory_reserved": cost, "memory_allocated": 0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert engine._size([row]) == 8
