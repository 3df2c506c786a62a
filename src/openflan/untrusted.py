"""Reads YAML, JSON and files that somebody else wrote as plain values, within limits. Nothing in them is run.

Every function raises ValueError (or OSError) that says what is wrong and where; `files.py` turns them into the
project's errors. What comes back holds strings, numbers, booleans, None, lists and dicts only, is at most MAX_DEPTH
levels deep, and has no integer of more than MAX_DIGITS digits and no text that UTF-8 cannot write.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from pydantic_core import from_json

MAX_DEPTH = 100
MAX_DIGITS = 100
MAX_YAML_BYTES = 1_000_000
MAX_YAML_VALUES = 200_000
MAX_ALIASED = 100  # values in a mapping that an alias may stand for
MAX_KEYS = 5_000  # of one mapping; integers can be chosen so that each new key is compared with all others
MAX_DIRECTIVES = 100  # libyaml compares each %TAG with all others
MAX_JSON_BYTES = 32_000_000  # parsed, some twenty times as much
MAX_SHOWN = 80
BLOCK_BYTES = 1 << 16  # of lines, read at a time
MAX_AT_ONCE = 4 * BLOCK_BYTES
MAX_NAME_BYTES = 255  # of each part of a path, on every file system in use

# libyaml reads a catalogue about eight times faster than the pure Python loader, which serves where it is missing.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What PyYAML reads as a number, a boolean or nothing, but for its dates and its numbers in other bases than ten: these
# stay text. So a text that PyYAML writes without quotes comes back as that text.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: True for word in ("yes", "true", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("no", "false", "off") for form in (word, word.title(), word.upper())},
    **{f"{sign}.{form}": float(f"{sign}inf") for sign in ("", "+", "-") for form in ("inf", "Inf", "INF")},
    **{f".{form}": float("nan") for form in ("nan", "NaN", "NAN")},
}

_STEP = MAX_DIGITS // 4
_FOUR_DIGITS = re.compile("[0-9][0-9]{3}")  # found sooner than where the first part is repeated
_MANY_DIGITS = re.compile(f"[0-9]{{{MAX_DIGITS}}}")
_KEY = re.compile(r'"[ \t\n\r]*:')  # or what looks like one in a text
_NESTING = frozenset((dict, list))
_DICT = frozenset((dict,))
_JSON_SPACE = " \t\n\r"
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")

Tags = Mapping[str, Callable[[Any], Any]]


def read_regular(path: Path, max_bytes: int) -> str:
    """The text of a regular file in UTF-8."""
    size = check_regular(path)
    with open(path, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{max(size, len(content)):,} bytes where at most {max_bytes:,} can be read")
    return content.decode("utf-8-sig")


def check_regular(path: Path) -> int:
    """The bytes of a regular file: no folder, no device and no pipe, which could block or never end."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
        raise ValueError(f"{kind} in place of a file")
    return found.st_size


def path_text(given: str | os.PathLike[str]) -> str:
    """A path as somebody wrote it, with `~` written out. ValueError for a name that no file can have."""
    text = os.fspath(given)
    if "\0" in text:
        raise ValueError("a NUL character in the name of a file")
    longest = max(len(os.fsencode(part)) for part in text.split(os.sep))
    if longest > MAX_NAME_BYTES:
        raise ValueError(f"a name of {longest:,} bytes; a file's has {MAX_NAME_BYTES} at most")
    return os.path.expanduser(text)


def yaml_value(text: str, tags: Tags | None = None) -> Any:
    """The value of one YAML document, None for an empty one. `tags` maps a tag that may occur to what makes a value of
    the plain one behind it; every other tag is refused, as are aliases, merge keys and keys that stand twice. With
    `tags`, in files that a program wrote, an alias may stand for a small mapping without aliases, which is then shared.

    >>> yaml_value("{a: 1, b: [yes, 2020-01-01, 0x10]}")
    {'a': 1, 'b': [True, '2020-01-01', '0x10']}
    """
    if text.count("\n%") > MAX_DIRECTIVES:
        raise ValueError(f"more than {MAX_DIRECTIVES} directives (%)")
    try:
        return _Builder(tags).build(text)
    except yaml.YAMLError as exc:
        raise ValueError(" ".join(str(exc).split())) from exc


class _Builder:
    """Makes values of libyaml's events one by one: nothing here or there calls itself, however deep the nesting."""

    def __init__(self, tags: Tags | None) -> None:
        self.tags = tags or {}
        self.takes_aliases = tags is not None
        self.open: list[tuple[Any, str | None, list[Any]]] = []  # of each open collection: itself, its tag, its key
        self.anchors: list[tuple[str | None, int]] = []  # of each open collection, and its first event
        self.small: dict[str, Any] = {}  # mappings that an alias may stand for
        self.values: list[Any] = []

    def build(self, text: str) -> Any:
        event: Any
        for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
            kind = type(event)
            if kind is not yaml.AliasEvent and getattr(event, "anchor", None) is not None:
                self.small.pop(event.anchor, None)  # the name means something else from here on
            if kind is yaml.ScalarEvent:
                self._add(self._scalar(event), event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(self.open) == MAX_DEPTH:
                    _refuse(f"more than {MAX_DEPTH} levels", event)
                if event.tag is not None and event.tag not in self.tags:
                    _refuse(f"the tag {event.tag}", event)
                self.open.append(({} if kind is yaml.MappingStartEvent else [], event.tag, []))
                self.anchors.append((event.anchor, number))
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                value, tag, _ = self.open.pop()
                value = value if tag is None else self.tags[tag](value)
                anchor, first = self.anchors.pop()
                if anchor is not None and kind is yaml.MappingEndEvent and number - first <= MAX_ALIASED:
                    self.small[anchor] = value
                self._add(value, event)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent and self.values:
                _refuse("a second document (---)", event)
            if number == MAX_YAML_VALUES:
                _refuse(f"more than {MAX_YAML_VALUES:,} values", event)
        return self.values[0] if self.values else None

    def _alias(self, event: Any) -> None:
        if not self.takes_aliases:
            _refuse("an alias (*name)", event)
        if event.anchor not in self.small or any(anchor is not None for anchor, _ in self.anchors):
            _refuse("an alias (*name) of more than a small mapping", event)
        self._add(self.small[event.anchor], event)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is not None:
            if event.tag not in self.tags:
                _refuse(f"the tag {event.tag}", event)
            return self.tags[event.tag](text)
        if not event.implicit[0]:  # in quotes or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in "+-.0123456789":
            if _INTEGER.fullmatch(text):
                if len(text) > MAX_DIGITS:
                    _refuse(f"a number of {len(text):,} digits", event)
                return int(text.replace("_", ""))
            if _FLOAT.fullmatch(text):
                return float(text.replace("_", ""))
        elif text == "<<":
            _refuse("a merge key (<<)", event)
        return text

    def _add(self, value: Any, event: Any) -> None:
        if not self.open:
            self.values.append(value)
            return
        inside, _, key = self.open[-1]
        if isinstance(inside, list):
            inside.append(value)
        elif key:
            inside[key.pop()] = value
        elif isinstance(value, dict | list):
            _refuse("a key that is a list or a mapping", event)
        elif value in inside:
            _refuse(f"the key {shown(value)} twice", event)
        elif len(inside) == MAX_KEYS:
            _refuse(f"more than {MAX_KEYS:,} keys", event)
        else:
            key.append(value)


def _refuse(what: str, event: Any) -> NoReturn:
    raise ValueError(f"{what}, line {event.start_mark.line + 1}")


def shown(value: object) -> str:
    """A value as an error may show it: not longer than a line."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def json_value(text: str, keys_once: bool = False) -> Any:
    """The value of a JSON text. With `keys_once` a key that an object has twice is an error. NaN and infinities are
    numbers, as Python writes them: who needs finite ones checks.

    >>> json_value('{"a": [1, null, NaN]}')
    {'a': [1, None, nan]}
    """
    # A hundred digits in a row show as four in every 25th character, which is searched in no time.
    is_careful = _FOUR_DIGITS.search(text[::_STEP]) is not None and _MANY_DIGITS.search(text) is not None
    if not is_careful and (not keys_once or text.find("{", 1) < 0):
        with suppress(ValueError, TypeError):  # Python's own decoder, which is slower, says what is wrong and where
            value = from_json(text, cache_strings="keys")
            _check_depth(text, value)
            if not keys_once or _has_keys_once(text, value):
                return value
    try:
        value, end = _DECODERS[is_careful, keys_once](text, len(text) - len(text.lstrip(_JSON_SPACE)))
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels") from None
    if rest := text[end:].lstrip(_JSON_SPACE):
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    _check_depth(text, value)
    if "\\" in text and _HALF_PAIR.search(text):
        _check_utf8(value)
    return value


def json_objects(text: bytes, is_list: bool = False, keys_once: bool = True) -> list[dict[str, Any]] | None:
    """The objects in lines of JSON, or in a list, where one look at them all shows that they are what `json_value`
    gives. None where it does not: then `json_value` has to look at each, or to say what is wrong with it.

    >>> json_objects(b'{"a": 1}\\n{"a": [2]}')
    [{'a': 1}, {'a': [2]}]
    >>> json_objects(b'{"a": 1}\\n{"a": 1, "a": 2}') is json_objects(b'{"a": 1}\\n2') is None
    True
    """
    if len(text) > MAX_AT_ONCE or _may_have_many_digits(text):
        return None
    try:
        if is_list:
            values = from_json(text, cache_strings="keys")
        else:
            values = [from_json(line, cache_strings="keys") for line in text.split(b"\n")]
    except ValueError:
        return None
    marks = _marks(text)
    if not _DICT.issuperset(map(type, values)):
        return None
    if marks.num_objects == len(values) and marks.num_lists < MAX_DEPTH:
        num_keys = sum(map(len, values))
    else:
        num_keys, levels = _keys_and_levels(values)
        if levels > MAX_DEPTH:
            return None
    return values if not keys_once or num_keys == marks.num_keys else None


class _Marks(NamedTuple):
    """How many objects, lists and keys a text of JSON has at most, a key that stands twice counted twice."""

    num_objects: int
    num_lists: int
    num_keys: int


def _may_have_many_digits(text: bytes) -> bool:
    """Whether there may be a number of more than MAX_DIGITS digits, which show as four in every 25th character."""
    import numpy as np  # quick to count, but not to load

    is_digit = np.frombuffer(text, dtype=np.uint8)[::_STEP] - np.uint8(ord("0")) < 10
    four = np.flatnonzero(is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1] & is_digit[3:])
    return any(text[place * _STEP : (place + 3) * _STEP].isdigit() for place in four.tolist())


def _marks(text: bytes) -> _Marks:
    import numpy as np

    byte = np.frombuffer(text, dtype=np.uint8)
    # Each key ends in a quote, before a colon, perhaps with white space between. A quote within a string has an odd
    # number of backslashes before it, mostly one, and the quote at a string's end an even number, mostly none.
    at = np.flatnonzero(byte == ord(":")) - 1
    spaced = at[byte[at] <= ord(" ")].tolist()
    for i, place in enumerate(spaced):
        while text[place] in b" \t\n\r":
            place -= 1
        spaced[i] = place
    at = np.concatenate((at, np.array(spaced, dtype=at.dtype)))
    at = at[byte[at] == ord('"')]
    in_string = (byte[at - 1] == ord("\\")) & (byte[at - 2] != ord("\\"))
    num_objects, num_lists = (int(np.count_nonzero(byte == ord(mark))) for mark in "{[")
    return _Marks(num_objects, num_lists, at.size - int(np.count_nonzero(in_string)))


def _keys_and_levels(layer: list[Any]) -> tuple[int, int]:
    """How many keys the objects have, with those within them, and how many levels; no more are counted than may be."""
    num_keys = levels = 0
    while layer and levels <= MAX_DEPTH:
        levels += 1
        objects = [value for value in layer if type(value) is dict]
        num_keys += sum(map(len, objects))
        below = [item for value in objects for item in value.values() if type(item) in _NESTING]
        layer = below + [item for value in layer if type(value) is list for item in value if type(item) in _NESTING]
    return num_keys, levels


def _has_keys_once(text: str, value: Any) -> bool:
    """Of a text with one object at most: whether it surely has no more keys than the value. Each has its colon."""
    num_keys = len(value) if type(value) is dict else 0
    return text.count(":") == num_keys or len(_KEY.findall(text)) == num_keys


def _check_depth(text: str, value: Any) -> None:
    """Looks for the quickest proof first: most rows are short, or hold texts and numbers alone."""
    if len(text) <= 2 * MAX_DEPTH or (type(value) is dict and _NESTING.isdisjoint(map(type, value.values()))):
        return
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth_above(value, MAX_DEPTH):
        raise ValueError(f"more than {MAX_DEPTH} levels")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shown(next(name for name in names if names.count(name) > 1))} twice")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


# By whether integers and keys are checked. `raw_decode` spares what `json.loads` does around it.
_DECODERS = {
    (False, True): json.JSONDecoder(object_pairs_hook=_once).raw_decode,
    (False, False): json.JSONDecoder().raw_decode,
    (True, True): json.JSONDecoder(object_pairs_hook=_once, parse_int=_integer).raw_decode,
    (True, False): json.JSONDecoder(parse_int=_integer).raw_decode,
}


def _depth_above(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for each in layer
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return False
    return True


def _check_utf8(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        half = ascii(exc.object[exc.start])
        raise ValueError(
            f"half of a surrogate pair ({half}), which is no character and which UTF-8 cannot write"
        ) from exc


def line_blocks(file: BufferedIOBase, max_line: int, with_half_line: bool = True) -> Iterator[bytes]:
    """A file's lines, a buffer of them at a time, without the line feed of the last. What cannot be read on fails
    behind the lines before it. A line longer than `max_line` bytes comes cut, as the last one; `with_half_line` says
    whether what follows the file's last line feed comes, too.

    >>> from io import BytesIO
    >>> list(line_blocks(BytesIO(b"a\\nb\\nc"), 10)), list(line_blocks(BytesIO(b"a\\nb\\nc"), 10, False))
    ([b'a\\nb', b'c'], [b'a\\nb'])
    """
    parts: list[bytes] = []
    num_bytes = 0
    while more := file.read1(BLOCK_BYTES):
        end = more.rfind(b"\n")
        if end < 0:
            parts.append(more)
            num_bytes += len(more)
            if num_bytes > max_line:
                with_half_line = True
                break
        else:
            yield b"".join((*parts, more[:end]))
            parts, num_bytes = [more[end + 1 :]], len(more) - end - 1
    if num_bytes and with_half_line:
        yield b"".join(parts)
