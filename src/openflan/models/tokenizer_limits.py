"""A tokenizer.json can make a text longer without end, and its patterns can search for ever.

Ordinary tokenizers change characters one for one and split by plain patterns. One that can do more is first tried on
short texts in a process of its own; and whatever has patterns that may go back gets a limited time for each text.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json
from tokenizers import Tokenizer

from openflan.errors import ModelError
from openflan.models.apart import SECONDS, run_apart, serve_apart
from openflan.untrusted import shown

if TYPE_CHECKING:  # it takes seconds to import, and the process that tries a tokenizer has ten
    from transformers import PreTrainedTokenizerBase

PARTS = ("normalizer", "pre_tokenizer", "decoder")
"""The parts of a tokenizer that change or split a text."""
MOST_COMPONENTS = 20
MOST_OF_A_PART = 100_000  # bytes; a longer one is read with the whole file
LONGEST_PREFIX = 4  # characters that an ordinary tokenizer puts before a text
MOST_PIECES = 50  # ids, or characters decoded, for each character of the probe
ADDING = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""The files with tokens that transformers adds to those of tokenizer.json. Each is normalised when it is added."""
CHUNK = 100_000
"""Characters that are encoded in one limited time; the slowest tokenizers need a tenth of it."""
DO = "Correct tokenizer.json, or use another tokenizer."
_ENDLESS = r"[*+]|\{\d*,\}"
# A repeated group, or three repetitions one after another: what they try can grow as a power of the text's length.
_COSTLY = re.compile(rf"\)(?:{_ENDLESS}|\{{)|(?:(?:{_ENDLESS})[^|]*){{3}}")
_REPEATS = re.compile(_ENDLESS)
_LETTER_AS_NUMBER = re.compile(rb"\\u00[2-7]")
_Found = TypeVar("_Found")


def check_tokenizer(folder: Path) -> None:
    """Try a tokenizer.json that is not ordinary, before anything else loads it. ModelError when it takes too much."""
    path = folder / "tokenizer.json"
    if not os.path.isfile(path):
        return
    found = list(_components(_parts(path.read_bytes())))
    odd = [each for each in found if _is_odd(each)]
    if not odd and len(found) <= MOST_COMPONENTS:
        return
    try:
        run_apart(__name__, str(folder), SECONDS)
    except ValueError as exc:
        text = f"a tokenizer that cannot be used on short texts ({exc}); it has {_named(odd or found)}"
        raise ModelError(path, text, "one that changes a text little, and soon", DO) from exc


class Limit:
    """Calls what encodes or decodes with a tokenizer of transformers, in the time that a chunk of text may take.

    At once where nothing can take long: with a BPE tokenizer whose patterns repeat nothing without end, and with one in
    Python, which has no patterns of its own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, where: Path) -> None:
        self.where = where
        self.backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
        parts = {name: _state(getattr(self.backend, name, None)) for name in PARTS}
        self.risky = [each for each in _components(parts) if _is_odd(each) or _REPEATS.search(_pattern(each))]
        self.is_needed = self.backend is not None and (bool(self.risky) or type(self.backend.model).__name__ != "BPE")

    def chunks(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """The texts in parts of about `CHUNK` characters, which are encoded in one limited time."""
        start = size = 0
        for i, text in enumerate(texts):
            if self.is_needed and i > start and size + len(text) > CHUNK:
                yield texts[start:i]
                start, size = i, 0
            size += len(text)
        yield texts[start:]

    def __call__(self, work: Callable[[], _Found]) -> _Found:
        """What `work` returns or raises. ModelError, which names the tokenizer's patterns: after `SECONDS`."""
        if not self.is_needed:
            return work()
        ended, results, errors = threading.Event(), list[_Found](), list[BaseException]()

        def run() -> None:
            try:
                results.append(work())
            except BaseException as exc:  # the panics of the tokenizers library are no Exception
                errors.append(exc)
            ended.set()

        # The library cannot be stopped; as a daemon the thread does not keep the process from ending.
        threading.Thread(target=run, daemon=True).start()
        for _ in range(10):  # so that a process that was suspended has lost a tenth of its time, not all
            if ended.wait(SECONDS / 10):
                break
        else:
            found = f"a tokenizer that is not done with a text after {SECONDS:g} seconds; it has {_named(self.risky)}"
            raise ModelError(self.where, found, "one that soon is", DO)
        if errors:
            raise errors[0]
        return results[0]


def _parts(content: bytes) -> Mapping[str, Any]:
    """`PARTS` of a tokenizer.json, and maybe more; none of a damaged one, of which the library will say what is wrong.

    The vocabulary, nearly all of such a file, is read only where one of its tokens could pass for a part.
    """
    keys = [b'"%s"' % name.encode() for name in PARTS]
    with suppress(ValueError):
        if all(content.count(key) == 1 for key in keys) and not _LETTER_AS_NUMBER.search(content):
            return {name: _value_of(content, key) for name, key in zip(PARTS, keys, strict=True)}
    with suppress(ValueError):
        value = from_json(content)
        return value if isinstance(value, dict) else {}
    return {}


def _value_of(content: bytes, key: bytes) -> Any:
    start = content.index(key) + len(key)
    text = content[start : start + MOST_OF_A_PART].decode(errors="replace")
    return json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n:"))[0]


def _components(parts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Each component of the parts; those of a sequence, in sequences too, one by one."""
    waiting = [parts.get(name) for name in PARTS]
    while waiting:
        part = waiting.pop(0)
        if not isinstance(part, Mapping):
            continue
        inner = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
        if isinstance(inner, list):
            waiting[:0] = inner
        else:
            yield part


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())


def _pattern(component: Mapping[str, Any]) -> str:
    """Its regular expression; empty where it has none."""
    pattern = component.get("pattern")
    return str(pattern.get("Regex", "")) if isinstance(pattern, Mapping) else str(pattern or "")


def _is_odd(component: Mapping[str, Any]) -> bool:
    """Whether it may lengthen a text or search for long: not what the library does by itself, nor what others use."""
    kind, pattern = component.get("type"), component.get("pattern")
    if kind == "Replace":
        text = pattern.get("String") if isinstance(pattern, Mapping) else None
        return not isinstance(text, str) or len(str(component.get("content"))) > len(text)
    if kind == "Prepend":
        return len(str(component.get("prepend"))) > LONGEST_PREFIX
    return kind == "Precompiled" or _COSTLY.search(_pattern(component)) is not None


def _named(components: list[Mapping[str, Any]]) -> str:
    names = [f"{each.get('type')} {shown(each.get('pattern', ''))}" for each in components[:3]]
    return ", ".join(names) + (f" and {len(components) - 3} more" if len(components) > 3 else "") or "no pattern"


def _probe() -> list[str]:
    """Short texts with all that is usual in one: each sign, and runs of equal ones that end otherwise."""
    signs = [chr(i) for i in range(32, 127)] + ["\n", "\t", "\r\n", "é", "ß", "½", "日", "本", "🎉", "न", "ع"]
    runs = [
        sign * num + end
        for sign in ("a", "A", "1", " ", "\n", ".", "é")
        for num in (30, 400)
        for end in ("b", "!", " b!")
    ]
    return ["".join(signs), "The cat sat on 2 mats.\n\nIt didn't move; why? " * 10, *(s * 20 for s in signs), *runs]


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            yield inner
        elif isinstance(inner, dict | list):
            waiting += [*inner, *inner.values()] if isinstance(inner, dict) else inner


def _try(folder: str) -> str:
    """Load the tokenizer in the folder, encode the probe and decode it. ValueError when ids or text are too long."""
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    for text in _probe():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        longer = max(len(ids), len(tokenizer.decode(ids)))
        if longer > MOST_PIECES * len(text):
            raise ValueError(f"it makes {longer:,} pieces of {len(text)} characters")
    for path in (os.path.join(folder, name) for name in ADDING if tokenizer.normalizer):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                for text in _strings(from_json(file.read())):
                    tokenizer.normalizer.normalize_str(text)
    return "done"


if __name__ == "__main__":
    serve_apart(_try)
