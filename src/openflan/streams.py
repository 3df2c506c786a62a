"""Named randomness and content fingerprints. This is the only file that seeds a generator or hashes anything.

A draw belongs to a name, not to a moment: `stream(seed, "mixture", task)` gives one dataset the same numbers however
many other datasets are drawn before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def seed_of(seed: int, *names: object) -> int:
    """A 63-bit seed for NumPy or torch, drawn from the run's seed and a name.

    >>> seed_of(0, "mixture", "rte") == seed_of(0, "mixture", "rte") != seed_of(0, "mixture", "cb")
    True
    """
    digest = hashlib.sha256(json.dumps([seed, *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, *names: object) -> random.Random:
    """A generator that belongs to `names`: same seed and names, same numbers, whatever else was drawn.

    >>> stream(1, "a").random() == stream(1, "a").random()
    True
    """
    return random.Random(seed_of(seed, *names))


def fingerprint(obj: Any) -> str:
    """16 hexadecimal digits that change whenever the content of `obj` does; the same in every process.

    Takes JSON values, dataclasses, pydantic models, paths (as text), tuples and sets.

    >>> fingerprint({"b": 1, "a": [2]}) == fingerprint({"a": (2,), "b": 1})
    True
    """
    text = json.dumps(obj, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def fingerprint_rows(rows: Iterable[Any]) -> str:
    """The `fingerprint` of a list of these rows, which are never held all at once.

    >>> fingerprint_rows(iter([["a", 1], ["b", 2]])) == fingerprint([["a", 1], ["b", 2]])
    True
    """
    digest = hashlib.sha256(b"[")
    encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain).encode
    between = ""
    for row in rows:
        digest.update((between + encode(row)).encode(errors="surrogatepass"))
        between = ","
    digest.update(b"]")
    return digest.hexdigest()[:16]


def number_of(text: str) -> int:
    """A 63-bit number that changes whenever `text` does, quickly: for one row among millions.

    >>> number_of("Tom") == number_of("Tom") != number_of("Tim")
    True
    """
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big") >> 1


def file_fingerprint(paths: Iterable[Path]) -> str:
    """Fingerprint of the names and bytes of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(os.fsencode(path.name) + b"\0")
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]


def bytes_fingerprint(parts: Iterable[Any]) -> str:
    """Fingerprint of bytes, and of whatever shows its own as bytes (contiguous arrays), one after the other.

    >>> bytes_fingerprint([b"ab", b"c"]) == bytes_fingerprint([b"abc"]) != bytes_fingerprint([b"abd"])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def share(*names: object) -> float:
    """A number in [0, 1) that belongs to `names`: splits combinations into train and test without a table.

    >>> 0 <= share("Tom", "likes", "cake") < 1
    True
    """
    return seed_of(0, *names) / 2**63


def _plain(obj: Any) -> Any:
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj)}
    if hasattr(obj, "model_dump"):
        return obj.model_dump(mode="json")
    if isinstance(obj, set | frozenset):
        return sorted(obj)
    if isinstance(obj, Path):
        return str(obj)
    raise TypeError(f"cannot fingerprint {type(obj).__name__}")
