"""Every n-gram of words in a batch of texts as one 64-bit number: what makes the overlap gate fast.

The texts lie one after the other in one array of bytes. With `H[k]` the sum of `byte[j] * BASE**j` over all `j < k`,
the n-gram from byte `s` to byte `e` has the number `(H[e] - H[s]) / BASE**s`: it depends on its own bytes alone, and no
loop over words is needed. All arithmetic is modulo 2**64, where `BASE`, being odd, has an inverse. Equal n-grams have
equal numbers; equal numbers almost always mean equal n-grams, and whoever must be sure compares the bytes.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from openflan.tasks.words import UNSPACED

BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(BASE, -1, 1 << 64)
_SPACE, _END = ord(" "), ord("\n")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
# Letters small, digits and `_` as they are, all else a space: what `normalise` does, for the 128 characters of ASCII.
_ASCII = bytes(ord(c) if (c := chr(i).lower()).isalnum() or c == "_" else _SPACE for i in range(128)) + bytes(128)
# Of scripts that put no space between words each letter is a word here, together with the marks on it; Chinese and
# Japanese texts have about two letters to a word.
_MARKS = "".join(chr(i) for i in (*range(0xE00, 0x1800), 0x3099, 0x309A) if unicodedata.category(chr(i))[0] == "M")
_LETTER = re.compile(f"[{UNSPACED}][{_MARKS}]*")
_LETTERS_PER_WORD = 2
# Marks of vowels that a text may have or lack: Hebrew points, Arabic harakat; the stroke that stretches Arabic words.
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)

_BEYOND_EUROPE = re.compile("[\u0590-\u1dff\u2e80-\U0010ffff]")


class _WordCharacters(dict[int, int | str | None]):
    """For `str.translate`: letters, digits and marks as they are, what nobody sees left out, all else a space."""

    def __missing__(self, code: int) -> int | str | None:
        category = unicodedata.category(chr(code))
        stays = category[0] in "LNM" or code == ord("_")
        self[code] = code if stays else None if category == "Cf" else " "
        return self[code]


_CHARACTERS = _WordCharacters()


def normalise(text: str) -> str:
    """Words alone, a space between them: case, punctuation, HTML, spacing, invisible characters and Unicode's spellings
    of one character do not count, and neither do the vowel points of Arabic and Hebrew. The vowel signs of Indian
    scripts do: they are part of the word. Of scripts without spaces each letter is a word.

    >>> normalise("It\\u2019s <b>RAINING</b>,\\nTom\\u200b said.")
    'it s raining tom said'
    >>> normalise("\\u597d\\u4e66, 3 yuan")
    '\\u597d \\u4e66 3 yuan'
    """
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if text.isascii():
        return " ".join(text.encode().translate(_ASCII).decode().split())
    text = unicodedata.normalize("NFKC", text).casefold()
    if _BEYOND_EUROPE.search(text):
        text = _LETTER.sub(r" \g<0> ", _OPTIONAL.sub("", text))
    return " ".join(text.translate(_CHARACTERS).split())


def num_words(text: str) -> int:
    """How many words a text that `normalise` made stands for; two letters of a script without spaces count as one.

    >>> num_words("a red kite"), num_words("\\u597d \\u4e66 3")
    (3, 2)
    """
    num = text.count(" ") + 1 if text else 0
    return num if text.isascii() else num - len(_LETTER.findall(text)) // _LETTERS_PER_WORD


@dataclass(frozen=True, slots=True)
class NGrams:
    """The G n-grams of some texts, in their order: `number` [G], the `text` [G] that each stands in, and the bytes
    `start` [G] to `end` [G] of `content` that it covers. `content` has the texts, a line each."""

    content: bytes
    number: NDArray[np.uint64]
    text: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def words(self, i: int) -> bytes:
        """N-gram `i`, as UTF-8."""
        return self.content[self.start[i] : self.end[i]]


def ngrams(texts: Sequence[str], n: int) -> NGrams:
    """All runs of `n` words in texts that `normalise` made; none goes from one text into the next.

    >>> found = ngrams(["a b c", "d e", "b c"], 2)
    >>> [(int(text), found.words(i).decode()) for i, text in enumerate(found.text)]
    [(0, 'a b'), (0, 'b c'), (1, 'd e'), (2, 'b c')]
    >>> bool(found.number[1] == found.number[3]), len(set(found.number.tolist()))
    (True, 3)
    """
    content = "".join(text + "\n" for text in texts).encode()
    byte = np.frombuffer(content, dtype=np.uint8)
    ends_text = byte == _END
    after = np.flatnonzero(ends_text | (byte == _SPACE))  # the byte behind each word
    start = np.concatenate(([0], after[:-1] + 1)) if after.size else after
    text = np.cumsum(ends_text)[start] if after.size else after
    real = start < after  # an empty text has no word
    start, after, text = start[real], after[real], text[real]
    last = n - 1
    whole = np.flatnonzero(text[last:] == text[: text.size - last]) if text.size > last else text[:0]
    start, end, text = start[whole], after[whole + last], text[whole]
    power, inverse = _powers((byte.size + 1).bit_length())
    sums = np.zeros(byte.size + 1, dtype=np.uint64)
    np.cumsum(byte * power[: byte.size], out=sums[1:])
    return NGrams(content, (sums[end] - sums[start]) * inverse[start], text, start, end)


@cache
def _powers(bits: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of `BASE` and of its inverse, up to the one of `2**bits`."""
    factors = np.full((2, 1 << bits), [[BASE], [_INVERSE]], dtype=np.uint64)
    factors[:, 0] = 1
    power, inverse = np.cumprod(factors, axis=1, dtype=np.uint64)
    return power, inverse
