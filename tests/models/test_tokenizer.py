import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from openflan.errors import ModelError
from openflan.models.settings import ModelSettings
from openflan.models.tokenizer import codec_of, load_tokenizer, pieces_of, train_tokenizer
from toys import TEXTS, toy_tokenizer

CODEC = codec_of(toy_tokenizer(), Path("toy"))
ODD = (
    "",
    " ",
    "\n",
    "\n\n",
    " \n",
    "\n ",
    "\n  x",
    " Yes",
    "Yes ",
    "a\r\nb",
    "\t",
    "Zoë 🎉 日本",
    "\u0085\u2028",
    "Ċ Ġ",
    "\x00",
)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_survive(text):
    assert CODEC.decode(CODEC.encode(text)) == text


@given(st.text())
def test_any_text_survives(text):
    assert CODEC.decode(CODEC.encode(text)) == text


@given(st.text(alphabet=" \n.,aA1'"))
def test_any_mixture_of_breaks_and_spaces_survives(text):
    assert CODEC.decode(CODEC.encode(text)) == text


@given(st.lists(st.sampled_from(["cat", " dog", "1984", "\n", "<|end|>", "<|pad|>", "é"])).map("".join))
def test_special_tokens_written_in_a_text_are_text(text):
    ids = CODEC.encode(text)
    assert not {0, 1} & set(ids)
    assert CODEC.decode(ids) == text


def test_decoding_leaves_special_tokens_out():
    assert CODEC.decode([*CODEC.encode("Yes"), 0, 1]) == "Yes"


def test_a_word_is_one_id_wherever_it_stands():
    (cat,) = CODEC.encode("cat")
    assert CODEC.encode("the cat")[-1] == cat
    assert CODEC.encode("the\ncat")[-1] == cat
    assert CODEC.encode("cat sat\ncat")[0] == cat
    assert CODEC.prompt_ids("cat")[0] == CODEC.target_ids("cat")[0] == cat


def test_a_line_break_is_a_token_of_its_own():
    (newline,) = CODEC.encode("\n")
    assert CODEC.encode("cat\ncat") == [*CODEC.encode("cat"), newline, *CODEC.encode("cat")]
    assert CODEC.prompt_ids("cat") == [*CODEC.encode("cat"), newline]


def test_digits_stand_alone():
    space_and_one = CODEC.encode("1")
    assert CODEC.encode("1984") == [*space_and_one, *(CODEC.encode(d)[-1] for d in "984")]


def test_training_is_deterministic_and_fills_the_vocabulary():
    again = train_tokenizer(TEXTS * 3, 319)
    assert again.get_vocab() == toy_tokenizer().get_vocab()
    assert len(again) == CODEC.vocab_size == 320
    assert (again.eos_token_id, again.pad_token_id, CODEC.eos_id, CODEC.before) == (0, 1, 0, ())


def test_without_an_end_of_text_token_it_is_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=toy_tokenizer().backend_tokenizer)
    with pytest.raises(ModelError, match="some/folder: found a tokenizer without an end-of-text token"):
        codec_of(tokenizer, Path("some/folder"))


def test_the_fingerprint_names_the_tokenizer_and_not_how_it_was_used():
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer(["The cat", "A"], padding=True, truncation=True, max_length=5)
    assert codec_of(tokenizer, Path("toy")).fingerprint == CODEC.fingerprint
    assert codec_of(tokenizer, Path("toy"), " ").fingerprint != CODEC.fingerprint
    assert codec_of(train_tokenizer(TEXTS * 3, 318), Path("toy")).fingerprint != CODEC.fingerprint


def test_pieces_are_what_the_ids_stand_for():
    ids = [0, *CODEC.encode("The cat\n\u00e9 <|end|>"), 1]
    pieces = pieces_of(toy_tokenizer(), ids)
    assert len(pieces) == len(ids)
    assert (pieces[0], pieces[-1]) == ("<|end|>", "<|pad|>")
    assert "\n" in pieces and "<C3>" in pieces and "<A9>" in pieces
    shown = "".join(pieces[1:-1]).replace("<C3><A9>", "\u00e9")
    assert shown == " The cat\n \u00e9 <|end|>"  # every line begins with a space that decoding takes away


def test_a_tokenizer_is_loaded_without_weights(tmp_path):
    toy_tokenizer().save_pretrained(tmp_path)
    codec = codec_of(load_tokenizer(str(tmp_path)), tmp_path)
    assert codec.encode("The cat sat.") == CODEC.encode("The cat sat.")
    assert codec.fingerprint == CODEC.fingerprint


def test_what_is_no_tokenizer_is_told(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        load_tokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_tokenizer(str(tmp_path))


TEMPLATE = {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}]}
TEMPLATE |= {"single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}
FAR = {"[X]": {"id": "[X]", "ids": [10**9], "tokens": ["[X]"]}}
DAMAGED = {
    "an id of a billion": ("tokenizer.json", ("model", "vocab", "!"), 10**9, "320 entries with the id 1,000,000,000"),
    "an id below zero": ("tokenizer.json", ("model", "vocab", "!"), -1, "integer `-1`"),
    "a prefix without an id": ("tokenizer.json", ("post_processor",), TEMPLATE | {"special_tokens": {}}, "no entry"),
    "a prefix far away": (
        "tokenizer.json",
        ("post_processor",),
        TEMPLATE | {"special_tokens": FAR},
        "the id 1000000000",
    ),
    "a length that is a text": ("tokenizer_config.json", ("model_max_length",), "x", "model_max_length 'x'"),
    "a length that is a list": ("tokenizer_config.json", ("model_max_length",), [3], r"model_max_length \[3\]"),
    "a number as end": ("tokenizer_config.json", ("eos_token",), 3, "Special token eos_token"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_tokenizer_is_told_before_it_takes_memory(name, tmp_path):
    file, keys, new, message = DAMAGED[name]
    toy_tokenizer().save_pretrained(tmp_path)
    value = json.loads((tmp_path / file).read_text())
    inside = value
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = new
    (tmp_path / file).write_text(json.dumps(value))
    with pytest.raises(ModelError, match=message):
        codec_of(load_tokenizer(str(tmp_path)), tmp_path)


def test_the_end_of_text_id_itself_can_separate_as_in_the_paper():
    codec = codec_of(toy_tokenizer(), Path("toy"), "<eos>")
    assert codec.prompt_ids("The cat") == [*CODEC.encode("The cat"), 0]
    assert (codec.end, codec.separator) == ((0,), "\n")  # between exemplars and their answers stays text
    assert codec.fingerprint != CODEC.fingerprint


@given(st.lists(st.text(max_size=20), max_size=5))
def test_many_texts_at_once_are_encoded_as_each_alone(texts):
    assert CODEC.encode_many(texts) == [CODEC.encode(text) for text in texts]


def test_padding_and_truncation_of_an_earlier_call_change_no_ids():
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    codec = codec_of(tokenizer, Path("toy"))
    tokenizer(["The cat", "A"], padding="max_length", truncation=True, max_length=5)
    texts = ["The cat sat on the mat and ran.", "A", "<|end|>"]
    assert codec.encode_many(texts) == CODEC.encode_many(texts)
    assert CODEC.encode_many(texts)[2] != [0]


CHATML = (
    "{% for m in messages %}<|im|>{{ m.role }}\n{{ m.content | trim }}\n<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im|>assistant\n{% endif %}"
)


def chat_tokenizer(template: str | None = CHATML, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im|>"], **special})
    tokenizer.chat_template = template
    return tokenizer


def test_a_chat_template_gives_what_stands_around_prompt_and_target():
    tokenizer = chat_tokenizer()
    codec, (start,) = codec_of(tokenizer, Path("chat"), chat_template=True), tokenizer.convert_tokens_to_ids(["<|im|>"])
    word = codec.encode
    assert codec.before == (start, *word("user\n"))
    assert codec.between == (*word("\n"), 0, *word("\n"), start, *word("assistant\n"))
    assert codec.end == (*word("\n"), 0)
    assert (codec.eos_id, codec.separator) == (0, "\n")
    ids = [*codec.prompt_ids("Did the cat sit? <|im|>"), *codec.target_ids("Yes"), *codec.end]
    assert [ids.count(start), ids.count(0)] == [2, 2]  # the user's own <|im|> is text
    assert "<|im|>assistant" in "".join(pieces_of(tokenizer, ids)).replace(" ", "")


def test_the_turn_ends_at_a_token_of_its_own_where_the_template_has_one():
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|turn|>\n{% endfor %}<|im|>"
    tokenizer = chat_tokenizer(template, pad_token="<|turn|>")
    codec = codec_of(tokenizer, Path("chat"), chat_template=True)
    (turn,) = tokenizer.convert_tokens_to_ids(["<|turn|>"])
    assert (codec.end, codec.eos_id, tokenizer.eos_token_id) == ((turn,), turn, 0)


def test_a_template_that_does_not_end_the_turn_gets_the_end_of_text_id():
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    assert codec_of(chat_tokenizer(template), Path("chat"), chat_template=True).end == (0,)


def test_a_template_that_writes_the_date_is_the_same_tomorrow():
    today = "{% if not date_string is defined %}{% set date_string = strftime_now('%f') %}{% endif %}{{ date_string }}"
    first, second = (codec_of(chat_tokenizer(today + CHATML), Path("chat"), chat_template=True) for _ in range(2))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (None, "a tokenizer without a chat template"),
        ("{{ messages[0].content }}", "changes, repeats or leaves out"),
        (CHATML.replace("trim", "upper"), "changes, repeats or leaves out"),
        (CHATML + CHATML, "changes, repeats or leaves out"),
        ("{{ raise_exception('no user') }}", "a chat template that fails \\(no user\\)"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_told(template, found):
    with pytest.raises(ModelError, match=f"some/folder: found .*{found}.*Leave model.chat_template out"):
        codec_of(chat_tokenizer(template), Path("some/folder"), chat_template=True)


def test_a_chat_template_and_a_separator_exclude_each_other():
    assert ModelSettings(chat_template=True).separator == "\n"
    with pytest.raises(ValidationError, match="leave `separator` out"):
        ModelSettings(chat_template=True, separator=" ")
