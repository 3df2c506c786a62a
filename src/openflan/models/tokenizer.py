"""Training the embedded tokenizer, loading one without its model, and wrapping any of Hugging Face's as a `Codec`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as bpe
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from openflan.errors import ModelError
from openflan.models.folder import EMBEDDED, check_files, unloadable
from openflan.streams import fingerprint
from openflan.tokens.codec import Codec

END = "<|end|>"
PAD = "<|pad|>"
EOS_SEPARATOR = "<eos>"  # a recipe's name for the end-of-text id itself as separator
_USER, _ASSISTANT = "Zebra-user-0417", "Quartz-assistant-9263"  # found again in what a chat template writes


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text survives encoding and decoding unchanged.

    A line break is a token of its own and every line starts with a space that decoding takes away again, so a word is
    the same token at the start of a line as within it. Copying a name from a passage is then copying one id.
    """
    tokenizer = Tokenizer(bpe.BPE())
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace("\n ", "\n"), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (line for text in texts for line in text.split("\n") if line)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens([AddedToken("\n", normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, or of a folder that holds nothing else; `base` is built in. Reads no weights.

    ModelError: no such folder, no tokenizer in it, a damaged one.
    """
    folder = EMBEDDED if path == "base" else Path(path)
    check_files(folder, needs_weights=False)
    if not os.path.isdir(folder):
        raise ModelError(folder, "no such folder", "one with a tokenizer", "Check the path (`base` is built in).")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as exc:  # a damaged file raises whatever the library that reads it likes
        raise unloadable(folder, exc, "a tokenizer that transformers can load") from exc
    if len(tokenizer) < 2:  # transformers makes an empty one where it finds no vocabulary
        raise ModelError(folder, "a tokenizer without a vocabulary", "a folder with tokenizer.json")
    return tokenizer


def pieces_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """What each id stands for, for people to read: the vocabulary's own entry, a byte-level one as the text it means.

    A piece of a character that several ids make up is shown in hexadecimal.

    >>> pieces_of(load_tokenizer("base"), [0, *codec_of(load_tokenizer("base"), Path("base")).encode("He ran.\\né")])
    ['<|end|>', ' He', ' ran', '.', '\\n', ' ', '<C3>', '<A9>']
    """
    entries = [str(entry) for entry in tokenizer.convert_ids_to_tokens(list(ids))]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or '"ByteLevel"' not in backend.to_str():
        return entries
    return [_readable(entry) for entry in entries]


def _readable(entry: str) -> str:
    """A byte-level entry writes each byte as one character: printable ones as themselves, the rest from U+0100 on."""
    if any(character not in _BYTES for character in entry):
        return entry  # a token that was added as text
    raw = bytes(_BYTES[character] for character in entry)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 128 else f"<{byte:02X}>" for byte in raw)


def _byte_alphabet() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def codec_of(
    tokenizer: PreTrainedTokenizerBase, where: Path, separator: str = "\n", chat_template: bool = False
) -> Codec:
    """The tokenizer as a Codec: its chat template around prompt and target, or `separator` between them.

    `where` names the tokenizer in errors. ModelError: no end-of-text token; a chat template that is missing, fails, or
    changes the texts it is given.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(where, "a tokenizer without an end-of-text token", "one", "Set eos_token and save it again.")
    eos = int(tokenizer.eos_token_id)
    encode_many = _encoder(tokenizer)

    def encode(text: str) -> list[int]:
        return encode_many([text])[0]

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    if chat_template:
        before, between, end = _chat_parts(tokenizer, where)
    else:
        plain, bos = tokenizer("a").input_ids, tokenizer.bos_token_id
        before = (bos,) if bos is not None and plain and plain[0] == bos else ()
        between = (eos,) if separator == EOS_SEPARATOR else tuple(encode(separator))
        end = (eos,)
    shown = "\n" if chat_template or separator == EOS_SEPARATOR else separator
    return Codec(
        encode=encode,
        encode_many=encode_many,
        decode=decode,
        before=before,
        between=between,
        end=end,
        eos_id=end[-1],
        vocab_size=len(tokenizer),
        fingerprint=fingerprint([_content(tokenizer), before, between, end, shown]),
        separator=shown,
    )


def _content(tokenizer: PreTrainedTokenizerBase) -> object:
    """What decides how the tokenizer encodes."""
    backend = _plain_backend(tokenizer)
    return backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())


def _plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """The fast tokenizer within; without the truncation and padding that an earlier call may have left switched on."""
    backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    return backend


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[str]], list[list[int]]]:
    # A special token that is written out in a text ("</s>") is text there and must not end the segment.
    def encode_many(texts: Sequence[str]) -> list[list[int]]:
        backend = _plain_backend(tokenizer)
        full = [text for text in texts if text]  # some tokenizers make a token of no text
        if backend is None:
            ids = tokenizer(full, add_special_tokens=False, split_special_tokens=True).input_ids if full else []
        else:
            backend.encode_special_tokens = True
            ids = [found.ids for found in backend.encode_batch_fast(full, add_special_tokens=False)]
        rest = iter(ids)
        return [next(rest) if text else [] for text in texts]

    return encode_many


def _chat_parts(
    tokenizer: PreTrainedTokenizerBase, where: Path
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What the chat template writes before the user's text, between it and the assistant's, and to end the latter.

    The end goes up to the first special token after the assistant's text: the one that ends the turn. Where there is
    none it is the end-of-text id.
    """
    do = "Leave model.chat_template out, or use a chat model's folder."
    if not tokenizer.chat_template:
        raise ModelError(where, "a tokenizer without a chat template", "one with it", do)
    talk = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ASSISTANT}]
    try:
        # A date given here keeps the templates that write one from saying something else every day.
        text = str(tokenizer.apply_chat_template(talk, tokenize=False, date_string="26 Jul 2024"))
    except Exception as exc:  # templates raise what they like
        found = " ".join(str(exc).split())[:300]
        raise ModelError(where, f"a chat template that fails ({found})", "one for a user and an assistant", do) from exc
    if text.count(_USER) != 1 or text.count(_ASSISTANT) != 1 or text.index(_USER) > text.index(_ASSISTANT):
        found = "a chat template that changes, repeats or leaves out the texts it is given"
        raise ModelError(where, found, "one that writes the user's text and then the assistant's, each once", do)
    head, _, rest = text.partition(_USER)
    middle, _, tail = rest.partition(_ASSISTANT)

    def parse(part: str) -> list[int]:  # the template's own special tokens are meant as such
        return list(tokenizer(part, add_special_tokens=False, split_special_tokens=False).input_ids) if part else []

    eos = int(tokenizer.eos_token_id)
    ends = {eos, *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)}
    after = parse(tail)
    last = next((i for i, token in enumerate(after) if token in ends), None)
    return tuple(parse(head)), tuple(parse(middle)), (eos,) if last is None else tuple(after[: last + 1])
