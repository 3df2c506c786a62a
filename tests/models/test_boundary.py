"""The ids around and in prompt and target, for tokenizers of the kinds that models come with."""

import time
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from openflan.errors import ModelError
from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.tokens.codec import Codec

WHERE = Path("some/tokenizer")
SPECIAL = ("<unk>", "<s>", "</s>", "[gMASK]", "<sop>", "[CLS]", "[SEP]", "<|im_start|>", "<|im_end|>")
TEXTS = ("x", "The cat sat.", "Is it 7?\n\n- Yes\n- No", " Yes", "")
TARGETS = ("Yes", "b", "7 cats", "not_entailment")
LETTERS = [chr(c) for c in range(33, 127)]
MERGES = [("Y", "e"), ("Ye", "s"), ("\u2581", "Yes"), ("T", "h"), ("Th", "e"), ("\u2581", "The"), ("\u2581", "c")]


def wrapped(backend: Tokenizer, prefix: str = "", template: str | None = None, **names: str) -> PreTrainedTokenizerFast:
    """A tokenizer that puts `prefix` before every text, as post-processors do."""
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    if prefix:
        tokens = [(token, backend.token_to_id(token)) for token in prefix.split()]
        backend.post_processor = processors.TemplateProcessing(single=f"{prefix} $A", special_tokens=tokens)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", **names)
    tokenizer.chat_template = template
    return tokenizer


def sentencepiece(scheme: str = "legacy") -> Tokenizer:
    """As Llama 2's: a space before every text, bytes for what has no piece; `legacy`: after special tokens, too."""
    pieces = [
        *SPECIAL,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "\u2581",
        *LETTERS,
        *("".join(pair) for pair in MERGES),
    ]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(kinds.BPE(vocabulary, MERGES, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if scheme == "legacy":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", scheme, split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


LLAMA_3 = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(pattern: str | None = None) -> Tokenizer:
    """As GPT-2's, or with a pattern of one's own as Llama 3's and Qwen's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("\u0120", "Y"), ("\u010a", "\u010a"), ("e", "s"), ("\u0120Y", "es"), ("Y", "es"), ("\u0120", "\u0120")]
    vocabulary = {piece: number for number, piece in enumerate([*alphabet, *(a + b for a, b in merges)])}
    backend = Tokenizer(kinds.BPE(vocabulary, merges))
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, plain])
    backend.decoder = decoders.ByteLevel()
    return backend


def wordpiece() -> Tokenizer:
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    backend = Tokenizer(kinds.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def in_place(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = False
    return backend.encode(text, add_special_tokens=False).ids


def apart(
    codec: Codec, tokenizer: PreTrainedTokenizerFast, prompt: str, target: str, separator: str
) -> list[list[int]]:
    """What prompts and targets were before the text in place was looked at."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    ids = [backend.encode(text, add_special_tokens=False).ids if text else [] for text in (prompt, separator, target)]
    return [[*codec.before, *ids[0], *ids[1]], ids[2]]


@pytest.mark.parametrize("separator", ["\n", "\n\n", " ", ": ", " The answer is"])
@pytest.mark.parametrize("target", [*TARGETS, " Yes", "  Yes", "\nYes"])
@pytest.mark.parametrize("kind", ["gpt2", "llama3"])
def test_byte_level_tokenizers_keep_the_ids_of_each_part_alone(kind, separator, target):
    tokenizer = (
        load_tokenizer("base") if kind == "base" else wrapped(byte_level({"gpt2": None, "llama3": LLAMA_3}[kind]))
    )
    codec = codec_of(tokenizer, WHERE, separator)
    for text in TEXTS:
        expected = apart(codec, tokenizer, text, target, separator)
        assert [codec.prompt_ids(text), codec.target_ids(target)] == expected


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
@pytest.mark.parametrize("target", [*TARGETS, " Yes", "\nYes"])
def test_the_embedded_tokenizer_keeps_the_ids_of_each_part_alone_behind_a_line_break(separator, target):
    tokenizer = load_tokenizer("base")
    codec = codec_of(tokenizer, WHERE, separator)
    for text in TEXTS:
        assert [codec.prompt_ids(text), codec.target_ids(target)] == apart(codec, tokenizer, text, target, separator)


@pytest.mark.parametrize("scheme", ["legacy", "first", "always"])
@pytest.mark.parametrize("separator", ["\n", "\n\n", ": ", " ", " The answer is "])
def test_a_tokenizer_that_starts_texts_with_a_space_gives_the_ids_of_the_text_in_place(scheme, separator):
    tokenizer = wrapped(sentencepiece(scheme), "<s>", bos_token="<s>")
    codec = codec_of(tokenizer, WHERE, separator)
    for text in TEXTS[:4]:
        for target in TARGETS:
            whole = [1, *in_place(tokenizer, text + separator + target)]
            assert [*codec.prompt_ids(text), *codec.target_ids(target)] == whole
    assert codec.decode([*codec.prompt_ids("The cat"), *codec.target_ids("Yes")]) == f"The cat{separator}Yes"
    assert codec.encode_targets(["Yes", "", "7"]) == [codec.target_ids("Yes"), [], codec.target_ids("7")]


CHATS = {
    "ChatML": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    "Llama 2": "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST] "
    "{% else %}{{ m.content }} </s>{% endif %}{% endfor %}",
    "Zephyr": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}",
    "plain": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}",
}


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("scheme", ["legacy", "first", "always", "gpt2", "llama3"])
def test_a_chat_is_the_text_that_its_template_writes(chat, scheme):
    backend = {"gpt2": byte_level(), "llama3": byte_level(LLAMA_3)}.get(scheme) or sentencepiece(scheme)
    tokenizer = wrapped(backend, template=CHATS[chat])
    codec = codec_of(tokenizer, WHERE, chat_template=True)
    for text in ("The cat sat.", "x"):
        for target in TARGETS:
            talk = [{"role": "user", "content": text}, {"role": "assistant", "content": target}]
            whole = in_place(tokenizer, tokenizer.apply_chat_template(talk, tokenize=False))
            ours = [*codec.prompt_ids(text), *codec.target_ids(target), *codec.end]
            length = len(ours) - (chat == "plain")  # which ends a turn with no token of its own
            if scheme in ("gpt2", "llama3") and chat in ("Llama 2", "plain"):  # a space and the word behind never merge
                assert codec.decode(ours[:length]) == codec.decode(whole)[: len(codec.decode(ours[:length]))]
            else:
                assert ours[:length] == whole[:length]


@pytest.mark.parametrize(
    ("prefix", "names"),
    [("[gMASK] <sop>", {}), ("[CLS]", {}), ("<s>", {"bos_token": "<s>"}), ("", {"bos_token": "<s>"})],
)
def test_what_a_tokenizer_puts_before_every_text_stands_before_every_prompt(prefix, names):
    tokenizer = wrapped(byte_level(), prefix, **names)
    codec = codec_of(tokenizer, WHERE)
    assert list(codec.before) == tokenizer.convert_tokens_to_ids(prefix.split())
    assert codec.prompt_ids("The cat") == [*tokenizer("The cat").input_ids, *codec.between]
    assert not {*codec.before} & {*codec.target_ids("Yes")}


def test_a_text_behind_its_prefix_may_be_closed_by_the_tokenizer():
    tokenizer = wrapped(wordpiece())
    names = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=names)
    codec = codec_of(tokenizer, WHERE, " :")
    assert codec.before == (names[0][1],)
    assert tokenizer.convert_ids_to_tokens(codec.prompt_ids("a")) == ["[CLS]", "a", ":"]


@pytest.mark.parametrize("separator", ["\n", "\n\n", "\t"])
def test_a_tokenizer_without_line_breaks_is_refused(separator):
    with pytest.raises(ModelError, match=r"without ids for the separator.*model.separator.*' : ' or '<eos>'"):
        codec_of(wrapped(wordpiece()), WHERE, separator)


@pytest.mark.parametrize(("separator", "between"), [(" : ", [":"]), ("<eos>", ["</s>"]), ("", []), (" ", [])])
def test_a_tokenizer_without_line_breaks_takes_another_separator(separator, between):
    tokenizer = wrapped(wordpiece())
    codec = codec_of(tokenizer, WHERE, separator)
    assert tokenizer.convert_ids_to_tokens(codec.between) == between


def test_an_unknown_separator_is_refused():
    vocabulary = {token: n for n, token in enumerate([*SPECIAL, *LETTERS])}
    backend = Tokenizer(kinds.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = wrapped(backend, unk_token="<unk>")
    with pytest.raises(ModelError, match="without ids for the separator"):
        codec_of(tokenizer, WHERE)
    assert codec_of(tokenizer, WHERE, ":").between == (vocabulary[":"],)


DATES = {
    "strftime_now": "{{ strftime_now('%d %B %Y') }}",
    "if not given": "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ date_string }}",
    "both": "{% if strftime_now is defined %}{{ strftime_now('%Y-%m-%d') }}{% else %}{{ date_string }}{% endif %}",
}


@pytest.mark.parametrize("date", DATES)
def test_a_template_that_writes_today_is_the_same_tomorrow(date, monkeypatch):
    tokenizer = wrapped(byte_level(), template=f"Today: {DATES[date]}\n{CHATS['plain']}")
    found, shown = [], []
    for zone in ("AAA-12", "AAA+12"):  # never the same day
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found.append(codec_of(tokenizer, WHERE, chat_template=True))
        shown.append(tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False))
    monkeypatch.undo()
    time.tzset()
    assert shown[0] != shown[1]
    assert (found[0].before, found[0].fingerprint) == (found[1].before, found[1].fingerprint)
    assert "2024" in found[0].decode(list(found[0].before))


def test_the_end_of_a_turn_may_be_an_ordinary_added_token():
    tokenizer = wrapped(byte_level(), template="{% for m in messages %}{{ m.content }}<turn>\n{% endfor %}")
    tokenizer.add_tokens([AddedToken("<turn>", special=False, normalized=False)])
    codec = codec_of(tokenizer, WHERE, chat_template=True)
    assert codec.end == tuple(tokenizer.convert_tokens_to_ids(["<turn>"]))
    assert codec.ends == (codec.eos_id, tokenizer.eos_token_id)
