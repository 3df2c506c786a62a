"""Tokenizers of strangers: what lengthens a text or searches for ever is one error, soon and in little memory."""

import json
import resource
import time
from pathlib import Path

import pytest

from openflan.errors import ModelError
from openflan.models import tokenizer_limits
from openflan.models.tokenizer import codec_of, load_tokenizer
from openflan.models.tokenizer_limits import CHUNK, PARTS, Limit, check_tokenizer
from toys import toy_tokenizer


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, object]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*parts: dict[str, object], name: str = "normalizers") -> dict[str, object]:
    return {"type": "Sequence", name: list(parts)}


def split(pattern: str) -> dict[str, object]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    regex = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return sequence(regex, byte_level, name="pretokenizers")


def write(folder: Path, **changed: object) -> Path:
    """A tokenizer with other parts than the toy's."""
    toy_tokenizer().save_pretrained(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


def added(content: str) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    return {"id": 320, "content": content, "normalized": True, **flags}


TOKENS = json.loads(toy_tokenizer().backend_tokenizer.to_str())["added_tokens"]
SLOW = " * *[!?]"  # grows as the third power of the spaces
HOSTILE = {
    "a chain that doubles": ({"normalizer": sequence(*[replace("a", "aa")] * 40)}, "Replace {'String': 'a'}, "),
    "more than a chain may have": ({"normalizer": sequence(*[replace("a", "b")] * 21)}, None),
    "a huge content": ({"normalizer": replace("a", "b" * 10_000_000)}, "Replace {'String': 'a'}"),
    "a long content": ({"normalizer": replace("e", "b" * 1000)}, "pieces of"),
    "a long prefix": ({"normalizer": {"type": "Prepend", "prepend": "b" * 1_000_000}}, "Prepend"),
    "a content between all": ({"normalizer": sequence(*[replace("", "ab", "Regex")] * 30)}, "Replace {'Regex': ''}"),
    "a slow normaliser": (
        {"normalizer": replace(SLOW, "x", "Regex"), "added_tokens": [*TOKENS, added(" " * 4000 + "b?")]},
        f"not finished after 10 seconds); it has Replace {{'Regex': '{SLOW}'}}",
    ),
    "a repeated group": ({"pre_tokenizer": split("(a+)+$")}, "retry-limit-in-match over); it has Split"),
    "three repetitions": ({"pre_tokenizer": split(r"\w*\w*\w*[!?]")}, "it has Split"),
    "a decoder that doubles": (
        {"decoder": sequence({"type": "Fuse"}, *[replace("Ġ", "ĠĠ")] * 40, name="decoders")},
        "Replace {'String': 'Ġ'}",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_what_takes_too_much_is_refused_before_it_is_loaded(name, tmp_path, capfd):
    changed, message = HOSTILE[name]
    write(tmp_path, **changed)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    if message is None:
        load_tokenizer(str(tmp_path))
    else:
        with pytest.raises(ModelError, match=r"tokenizer\.json: found a tokenizer that cannot be used") as caught:
            load_tokenizer(str(tmp_path))
        assert message in caught.value.found
        assert caught.value.where == str(tmp_path / "tokenizer.json")
    assert time.monotonic() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert capfd.readouterr().err == ""  # no lines of another language's


LLAMA_2 = sequence({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁"))
BACK = sequence(replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, name="decoders")
WORDS = split(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ORDINARY = {"as Llama 2": {"normalizer": LLAMA_2, "decoder": BACK}, "as Llama 3": {"pre_tokenizer": WORDS}, "a toy": {}}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_tokenizer_is_not_tried(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_limits, "run_apart", lambda *_: pytest.fail("tried"))
    check_tokenizer(write(tmp_path, **ORDINARY[name]))
    limit = Limit(load_tokenizer(str(tmp_path)), tmp_path)
    assert limit.is_needed == (name == "as Llama 3")


@pytest.mark.parametrize("hidden", ["a token of the name", "an escape", "a long part"])
def test_no_way_of_writing_hides_a_part(hidden, tmp_path, monkeypatch):
    tried: list[str] = []
    monkeypatch.setattr(tokenizer_limits, "run_apart", lambda _, folder, seconds: tried.append(folder))
    doubling = replace("a", "aa")
    path = write(tmp_path, normalizer=doubling) / "tokenizer.json"
    text = path.read_text()
    if hidden == "a token of the name":
        text = '{"version": {"normalizer": null},' + text[1:]
    elif hidden == "an escape":
        text = text.replace('"normalizer"', r'"normal\u0069zer"').replace("{", '{"x": "normalizer",', 1)
    else:
        text = text.replace('"normalizer": {', '"normalizer": {"x": "%s",' % ("y" * 200_000))
    path.write_text(text)
    check_tokenizer(tmp_path)
    assert tried == [str(tmp_path)]
    assert PARTS[0] == "normalizer"


def test_a_text_that_takes_too_long_is_one_error(tmp_path, monkeypatch):
    """Two repetitions one after another are usual; only the text tells that these are slow."""
    monkeypatch.setattr(tokenizer_limits, "SECONDS", 1.0)
    codec = codec_of(load_tokenizer(str(write(tmp_path, pre_tokenizer=split(SLOW)))), tmp_path)
    assert codec.decode(codec.encode("The cat sat!")) == "The cat sat!"
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"not done with a text after 1 seconds; it has Split \{'Regex': ' \* \*"):
        codec.encode(" " * 2500 + "b?")
    assert time.monotonic() - began < 5


def test_a_decoder_has_a_limited_time_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_limits, "run_apart", lambda *_: "done")  # no probe is as long
    monkeypatch.setattr(tokenizer_limits, "SECONDS", 1.0)
    decoder = sequence({"type": "ByteLevel"} | dict.fromkeys(("add_prefix_space", "trim_offsets", "use_regex"), True),
                       {"type": "Fuse"}, replace(SLOW, "x", "Regex"), name="decoders")  # fmt: skip
    codec = codec_of(load_tokenizer(str(write(tmp_path, decoder=decoder))), tmp_path)
    with pytest.raises(ModelError, match="not done with a text after 1 seconds"):
        codec.decode(codec.encode(" " * 2500 + "b?"))


def test_texts_are_shared_out_into_chunks_and_none_is_lost(tmp_path):
    limit = Limit(load_tokenizer(str(write(tmp_path, pre_tokenizer=WORDS))), tmp_path)
    texts = ["a" * n for n in (10, CHUNK, 5, CHUNK // 2, CHUNK // 2, 1, 3 * CHUNK, 2)]
    chunks = [list(chunk) for chunk in limit.chunks(texts)]
    assert [len(chunk) for chunk in chunks] == [1, 1, 2, 2, 1, 1]
    assert [text for chunk in chunks for text in chunk] == texts
    assert list(limit.chunks([])) == [[]]


def test_what_another_thread_raises_comes_back(tmp_path):
    limit = Limit(load_tokenizer(str(write(tmp_path, pre_tokenizer=WORDS))), tmp_path)
    assert limit.is_needed
    with pytest.raises(ZeroDivisionError):
        limit(lambda: 1 // 0)
