"""Training the embedded tokenizer, loading one without its model, and wrapping any of Hugging Face's as a `Codec`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as bpe
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from openflan.errors import ModelError
from openflan.models.boundary import Encoder, chat_parts, plain_parts
from openflan.models.folder import EMBEDDED, check_files, unloadable
from openflan.models.tokenizer_limits import Limit, check_tokenizer
from openflan.streams import file_fingerprint, fingerprint
from openflan.tokens.codec import Codec
from openflan.untrusted import shown

END = "<|end|>"
PAD = "<|pad|>"
MAX_GAP = 10_000  # ids that a small vocabulary may leave out
EOS_SEPARATOR = "<eos>"  # a recipe's name for the end-of-text id itself as separator


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
    check_tokenizer(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except BaseException as exc:  # a damaged file raises whatever the library that reads it likes
        if not _is_failure(exc):
            raise
        raise unloadable(folder, exc, "a tokenizer that transformers can load") from exc
    with _told(folder):
        ids = tokenizer.get_vocab().values()
    if len(ids) < 2:  # transformers makes an empty one where it finds no vocabulary
        raise ModelError(folder, "a tokenizer without a vocabulary", "a folder with tokenizer.json")
    # The tokenizers library keeps a table up to the highest id, and ends the process where the memory ends.
    most = MAX_GAP + 4 * len(ids)
    if max(ids) > most:
        expected = f"none above {most:,} for so few entries"
        raise ModelError(folder, f"a vocabulary of {len(ids):,} entries with the id {max(ids):,}", expected)
    if not isinstance(tokenizer.model_max_length, int | float):
        found = f"model_max_length {shown(tokenizer.model_max_length)}"
        raise ModelError(folder, found, "a number", "Correct it in tokenizer_config.json.")
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
    tokenizer: PreTrainedTokenizerBase,
    where: Path,
    separator: str = "\n",
    chat_template: bool = False,
    ends: Sequence[int] = (),
) -> Codec:
    """The tokenizer as a Codec: its chat template around prompt and target, or `separator` between them.

    `where` names the tokenizer in errors; `ends` are the end-of-text ids that its model's folder names.

    ModelError: no end-of-text token; a chat template that is missing, fails, or changes the texts it is given; a
    separator that the tokenizer has no ids for; a tokenizer that fails.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(where, "a tokenizer without an end-of-text token", "one", "Set eos_token and save it again.")
    eos = int(tokenizer.eos_token_id)
    encode_many = _encoder(tokenizer, where)
    with _told(where):
        if chat_template:
            parts = chat_parts(tokenizer, encode_many, where)
        else:
            parts = plain_parts(tokenizer, encode_many, None if separator == EOS_SEPARATOR else separator, where)
        vocab_size = max(tokenizer.get_vocab().values()) + 1  # ids may have gaps
        stray = [i for i in (*parts.before, *parts.between, *parts.end) if not 0 <= i < vocab_size]
        if stray:
            found = f"a tokenizer that puts the id {stray[0]} around texts but does not have it in its vocabulary"
            raise ModelError(where, found, f"ids below {vocab_size}", "Save the tokenizer again.")
        content = _content(tokenizer)

    shown = "\n" if chat_template or separator == EOS_SEPARATOR else separator
    known_ends = tuple(dict.fromkeys(i for i in (parts.end[-1], eos, *ends) if i < vocab_size))
    identity = [content, parts.before, parts.between, parts.end, shown, known_ends, *parts.leads]
    return Codec(
        encode=lambda text: parts.encode_prompts([text])[0],
        encode_many=parts.encode_prompts,
        encode_targets=parts.encode_targets,
        decode=_decoder(tokenizer, where),
        before=parts.before,
        between=parts.between,
        end=parts.end,
        eos_id=parts.end[-1],
        ends=known_ends,
        vocab_size=vocab_size,
        fingerprint=fingerprint(identity),
        separator=shown,
    )


@contextmanager
def _told(where: Path) -> Iterator[None]:
    """Turn what a damaged tokenizer makes transformers and tokenizers raise into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except BaseException as exc:
        if not _is_failure(exc):
            raise
        raise unloadable(where, exc, "a tokenizer that can encode a text") from exc


def _is_failure(exc: BaseException) -> bool:
    """The panics of the tokenizers library are no subclass of Exception."""
    return isinstance(exc, Exception) or type(exc).__name__ == "PanicException"


def _content(tokenizer: PreTrainedTokenizerBase) -> object:
    """What decides how the tokenizer encodes: all of a fast one; of a slow one its vocabulary and its own files."""
    backend = _plain_backend(tokenizer)
    if backend is not None:
        return backend.to_str()
    folder = Path(tokenizer.name_or_path)
    files = [path for name in tokenizer.vocab_files_names.values() if (path := folder / name).is_file()]
    return [sorted(tokenizer.get_vocab().items()), file_fingerprint(files)]


def _plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """The fast tokenizer within; without the truncation and padding that an earlier call may have left switched on."""
    backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    return backend


def _encoder(tokenizer: PreTrainedTokenizerBase, where: Path) -> Encoder:
    limit = Limit(tokenizer, where)

    # A special token that is written out in a text ("</s>") is text there and must not end the segment.
    def encode_chunk(texts: Sequence[str]) -> list[list[int]]:
        backend = _plain_backend(tokenizer)
        if backend is None:
            return list(tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True).input_ids)
        backend.encode_special_tokens = True
        return [found.ids for found in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_many(texts: Sequence[str]) -> list[list[int]]:
        full = [text for text in texts if text]  # some tokenizers make a token of no text
        ids: list[list[int]] = []
        with _told(where):  # a pattern of the tokenizer may run out of attempts in a text
            for chunk in limit.chunks(full):
                if chunk:
                    ids += limit(partial(encode_chunk, chunk))
        rest = iter(ids)
        return [next(rest) if text else [] for text in texts]

    return encode_many


def _decoder(tokenizer: PreTrainedTokenizerBase, where: Path) -> Callable[[list[int]], str]:
    limit = Limit(tokenizer, where)

    def decode(ids: list[int]) -> str:
        backend = limit.backend
        if backend is None or not limit.is_needed:
            return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        with _told(where):  # what decodes many texts lets other threads go on, such as the one that waits
            return str(limit(partial(backend.decode_batch, [ids], skip_special_tokens=True))[0])

    return decode
