"""Shortens a prompt that is too long: cuts the middle of fields, in the card's order."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from openflan.tasks.example import Field
from openflan.tasks.words import UNSPACED

DOTS = "..."
SHORT_ITEM = 20  # pieces; a longer item of a list loses its own middle rather than be left out without need

# What is cut between: words, each with the white space before it; single characters of scripts without spaces; and at
# most 30 characters of anything else, such as an address.
_PIECE = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]{{1,30}})|\s+$")


def num_pieces(value: Field) -> int:
    """How many words a field has; of a script without spaces, how many characters.

    >>> num_pieces("Who sang it?"), num_pieces("谁唱的歌"), num_pieces(("one", "two words"))
    (3, 4, 3)
    """
    return len(_PIECE.findall(value)) if isinstance(value, str) else sum(map(num_pieces, value))


def without_middles(
    fields: Mapping[str, Field], names: Sequence[str], num_cut: int, in_order: bool, whole: frozenset[str] = frozenset()
) -> tuple[dict[str, Field], int]:
    """The fields less `num_cut` pieces from the middle of those called `names`, and how many are gone.

    `in_order`: the first name loses all but its ends before the second loses anything. Otherwise the longest loses
    first, until it is as short as the next. The first and the last piece of a field always stay. Lists in `whole` keep
    all their items, which lose their own middles.
    """
    lengths = [num_pieces(fields[name]) for name in names]
    shares = _in_order(lengths, num_cut) if in_order else _from_the_longest(lengths, num_cut)
    cut, gone = dict(fields), 0
    for name, num in zip(names, shares, strict=True):
        value = fields[name]
        cut[name], num = (_text(value, num), num) if isinstance(value, str) else _list(value, num, name in whole)
        gone += num
    return cut, gone


def _in_order(lengths: Sequence[int], num_cut: int) -> list[int]:
    """
    >>> _in_order([5, 9, 4], 6)
    [3, 3, 0]
    """
    shares = []
    for length in lengths:
        shares.append(min(num_cut, max(0, length - 2)))
        num_cut -= shares[-1]
    return shares


def _from_the_longest(lengths: Sequence[int], num_cut: int) -> list[int]:
    """
    >>> _from_the_longest([5, 9, 4], 6)
    [1, 5, 0]
    """
    level = bisect_left(
        range(max(lengths, default=0)), -num_cut, lo=2, key=lambda level: -sum(max(0, n - level) for n in lengths)
    )
    shares = [max(0, length - level) for length in lengths]
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # a level is a whole number: what it leaves over
        if sum(shares) < num_cut and lengths[i] - shares[i] > 2:
            shares[i] += 1
    return shares


def _text(text: str, num_cut: int) -> str:
    """
    >>> _text("one two three four five", 2), _text("a=1\\nb=2\\nc=3\\nd=4", 2), _text("我们在山上走了很久", 5)
    ('one ... four five', 'a=1\\n...\\nd=4', '我们...很久')
    """
    pieces = _PIECE.findall(text)
    if num_cut <= 0:
        return text
    first = (len(pieces) - num_cut) // 2
    space = pieces[first][: len(pieces[first]) - len(pieces[first].lstrip())]
    return "".join([*pieces[:first], space + DOTS, *pieces[first + num_cut :]])


def _list(items: Sequence[str], num_cut: int, whole: bool) -> tuple[tuple[str, ...], int]:
    """Less items from the middle, and what is still too much from within the longest of the others.

    >>> _list(("one 1", "two 2", "three 3", "four 4", "five 5"), 3, whole=False)
    (('one 1', 'two 2', '...', 'five 5'), 4)
    """
    sizes = [num_pieces(item) for item in items]
    gone, first, last = 0, len(items) // 2, len(items) // 2  # items[first:last] are left out
    while gone < num_cut and not whole and last - first < len(items) - 2:
        nearer = first - 1 if first > len(items) - last else last
        if sizes[nearer] > max(num_cut - gone, SHORT_ITEM):
            break
        gone += sizes[nearer]
        first, last = min(first, nearer), max(last, nearer + 1)
    kept = [*range(first), *range(last, len(items))]
    shares = _from_the_longest([sizes[i] for i in kept], max(0, num_cut - gone))
    left = [_text(items[i], share) for i, share in zip(kept, shares, strict=True)]
    return (*left[:first], *([DOTS] if last > first else []), *left[first:]), gone + sum(shares)
