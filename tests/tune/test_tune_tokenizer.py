import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, LlamaConfig

from popsim.errors import TuneError
from popsim.tune import load_tune_config
from popsim.tune.pairs import draw_cell
from popsim.tune.tokenizer import END, chat, grow_tokenizer, train_tokenizer, write_tokenizer


@cache
def drawn():
    oil, platform = (
        load_tune_config("nano").draw.model_copy(
            update={"cell": 32, "broken": 0, "shared_first": 0, "scenarios": {name: 1}}
        )
        for name in ("oil_price_rise", "learning_platform_cn")
    )
    return [pair for cell in range(6) for draw in (oil, platform) for pair in draw_cell(draw, "train", cell)]


def text_of(pair):
    return pair.messages[0][1]


@cache
def trained():
    return train_tokenizer([text for pair in drawn() for text in (text_of(pair), *pair.answers)], 4000)


ALONE = re.compile(r'.*[\d{}\[\]<>"“”%\n].*', re.DOTALL)
LEGAL = re.compile(r'[\d{}\[\]<>"“”%]|\n+|<\|\w+\|>')
BETWEEN_FIELDS = '%", "', '": "'
TAGS = [f"<{stroke}{part}>" for part in ("recall", "reasoning", "final_answer") for stroke in ("", "/")]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_comes_back(text):
    if "<|" not in text:
        assert trained().decode(trained().encode(text).ids, skip_special_tokens=False) == text


def test_shipped_texts_come_back_short():
    for pair in drawn()[::7]:
        ids = trained().encode(text_of(pair)).ids
        assert trained().decode(ids) == text_of(pair)
        assert len(ids) < len(text_of(pair)) / (6 if "oil" in pair.group else 1.5)


def test_digits_brackets_and_tags_stand_alone_and_quotes_join_only_the_marks_between_fields():
    for number in range(trained().get_vocab_size()):
        text = trained().decode([number], skip_special_tokens=False)
        if ALONE.fullmatch(text) and not any(text in whole for whole in (*TAGS, *BETWEEN_FIELDS)):
            assert LEGAL.fullmatch(text), text


def test_an_answer_tag_is_one_token():
    for tag in TAGS:
        assert len(trained().encode(f"{tag}\nprices")) == 2 + len(trained().encode("prices"))


@given(st.from_regex(r"[ A-Za-z]{0,5}-?[0-9]{1,6}(\.[0-9]{1,3})?%?[\]}\"]{0,2}", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_each_digit_is_a_token(text):
    tokens = [trained().decode([i]) for i in trained().encode(text).ids]
    assert sum(token.isdigit() for token in tokens) == sum(character.isdigit() for character in text)


def test_what_differs_between_people_has_tokens_of_its_own():
    """People who differ in one word differ in few tokens, and the prompt's and the recall's tokens are the same."""
    married = "At the age of 54 you are a woman and married, and you live in the West of the United States."
    single = married.replace("married", "divorced").replace("woman", "man")
    one, two = (trained().encode(text).tokens for text in (married, single))
    assert 1 <= len(set(one) ^ set(two)) <= 6
    recalled = trained().encode(married.replace("you are", "I am").replace("you live", "I live")).tokens
    assert set(one) - set(recalled) <= {"Ġyou", "Ġare", "ĠyouĠare", "ĠandĠyou", "ĠyouĠlive"}


def test_it_loads_unchanged_beside_a_llama_config(tmp_path):
    write_tokenizer(trained(), tmp_path, 2048)
    LlamaConfig(vocab_size=trained().get_vocab_size()).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.eos_token == END
    for pair in drawn()[::20]:
        rendered = loaded.apply_chat_template(
            [{"role": "user", "content": text_of(pair)}], tokenize=False, add_generation_prompt=True
        )
        assert rendered == chat(pair.messages)
        for text in (rendered, pair.answers[0] + END, "Zoë — 9,5 % ünïcödé 🙂\t汉字"):
            ids = loaded(text, add_special_tokens=False)["input_ids"]
            assert ids == trained().encode(text).ids
            assert loaded.decode(ids) == text
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).to_str() == trained().to_str()


def test_there_must_be_text():
    with pytest.raises(TuneError, match=r"tokenizer\.pairs"):
        train_tokenizer([], 512)


def test_a_grown_vocabulary_keeps_its_tokens_and_reads_new_texts_in_fewer():
    new = ["The federal funds target rate is steered by a committee of the Federal Reserve."] * 20
    grown = grow_tokenizer(trained(), new, trained().get_vocab_size() + 200)
    assert grown.get_vocab().items() >= trained().get_vocab().items()
    assert sorted(grown.get_vocab().values()) == list(range(grown.get_vocab_size()))
    assert len(grown.encode(new[0])) < len(trained().encode(new[0])) / 4
    for pair in drawn()[::20]:
        ids = grown.encode(text_of(pair)).ids
        assert grown.decode(ids) == text_of(pair)
        assert len(ids) <= len(trained().encode(text_of(pair)).ids)
