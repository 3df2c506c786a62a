import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openflan.errors import DataError
from openflan.tokens.pack import (
    Pack,
    Segment,
    StorePacks,
    branched_segment,
    pack,
    pack_in_order,
    pack_lengths,
    plain_segment,
)
from toys import draw_segments

# Odd and even capacities, with segments up to exactly as long.
CASES = st.integers(1, 33).flatmap(
    lambda capacity: st.tuples(st.just(capacity), st.lists(st.integers(1, capacity), max_size=40))
)


def layout(packs: list[Pack]) -> list[list[int]]:
    return [[segment.key for segment in p.segments] for p in packs]


@given(CASES)
def test_every_segment_once_and_whole_within_the_capacity(case):
    capacity, lengths = case
    segments = draw_segments(lengths, 1)
    packs = pack(segments, capacity)
    assert sorted((s for p in packs for s in p.segments), key=lambda s: s.key) == segments
    assert all(0 < p.num_tokens <= p.capacity == capacity for p in packs)


@given(CASES, st.randoms(use_true_random=False))
def test_the_order_given_does_not_matter(case, rng):
    capacity, lengths = case
    segments = draw_segments(lengths, 1)
    expected = layout(pack(segments, capacity))
    rng.shuffle(segments)
    assert layout(pack(segments, capacity)) == expected


@given(CASES)
def test_no_two_packs_could_have_been_one(case):
    capacity, lengths = case
    packs = pack(draw_segments(lengths, 1), capacity)
    sizes = sorted(p.num_tokens for p in packs)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > capacity


@given(CASES)
def test_it_is_best_fit_decreasing(case):
    """The same packs as the plain loop that looks at all of them for each segment."""
    capacity, lengths = case
    segments = draw_segments(lengths, 1)
    rooms: list[int] = []
    for segment in sorted(segments, key=lambda s: (-len(s), s.key)):
        fitting = [i for i, room in enumerate(rooms) if room >= len(segment)]
        if fitting:
            rooms[min(fitting, key=lambda i: rooms[i])] -= len(segment)
        else:
            rooms.append(capacity - len(segment))
    assert sorted(capacity - p.num_tokens for p in pack(segments, capacity)) == sorted(rooms)


def test_ties_are_broken_by_key():
    segments = draw_segments([4, 4, 4, 4, 3, 3], 1)
    assert layout(pack(segments, 11)) == [[0, 1, 5], [2, 3, 4]]
    assert layout(pack(segments[::-1], 11)) == [[0, 1, 5], [2, 3, 4]]


def test_a_segment_may_fill_a_pack_and_no_more():
    segments = draw_segments([7, 7, 1], 1)
    assert layout(pack(segments, 7)) == [[0], [1], [2]]
    with pytest.raises(DataError, match="segment 0: found 7 tokens; expected at most 6 in a pack"):
        pack(segments, 6)


def test_nothing_makes_no_packs():
    assert pack([], 8) == []


def test_a_plain_segment_is_all_trunk():
    segment = plain_segment(4, [7, 8, 9], 2)
    assert (segment.key, segment.ids, segment.branch) == (4, (7, 8, 9), (0, 0, 0))
    assert segment.supervised == (False, True, True)


def test_options_without_a_prompt_are_refused():
    with pytest.raises(DataError, match="segment 3: found an empty prompt"):
        branched_segment(3, [], [[5], [6]])


@given(CASES)
def test_lengths_alone_give_the_same_packs(case):
    capacity, lengths = case
    found = pack_lengths(np.array(lengths, dtype=np.int32), capacity)
    assert [indices.tolist() for indices in found] == layout(pack(draw_segments(lengths, 1), capacity))


@pytest.mark.parametrize(("lengths", "row"), [([3, 7, 8], "row 1: found 7"), ([3, 0], "row 1: found 0")])
def test_a_length_that_fits_no_pack_is_told(lengths, row):
    with pytest.raises(DataError, match=f"{row} tokens; expected from 1 to 6 in a pack"):
        pack_lengths(np.array(lengths), 6)
    with pytest.raises(DataError, match=f"{row} tokens; expected from 1 to 6 in a pack"):
        pack_in_order(np.array(lengths), 6)


@given(CASES, st.integers(1, 50))
def test_packing_in_order_fills_up_from_the_window(case, window):
    """The same packs as a plain loop that looks at the whole window for each row."""
    capacity, lengths = case
    left, expected = list(range(len(lengths))), []
    while left:
        expected.append([])
        room = capacity
        while True:
            end = left[0] + window if left else 0
            fitting = [i for i in left if i < end and lengths[i] <= room]
            if not fitting:
                break
            row = left[0] if left[0] in fitting else max(fitting, key=lambda i: (lengths[i], -i))
            left.remove(row)
            expected[-1].append(row)
            room -= lengths[row]
    rows, ends = pack_in_order(np.array(lengths, dtype=np.int32), capacity, window)
    assert [part.tolist() for part in np.split(rows, ends[:-1])] == (expected or [[]])
    assert sorted(rows.tolist()) == list(range(len(lengths)))


def test_packing_in_order_is_tight_and_fast_and_does_not_sort_by_length():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(4.8, 0.9, 300_000).astype(np.int32) + 5, 1, 1024)
    began = time.perf_counter()
    rows, ends = pack_in_order(lengths, 1024)
    assert time.perf_counter() - began < 5
    assert lengths.sum() / (len(ends) * 1024) > 0.99
    num_rows = np.diff(ends, prepend=0)
    tenth = len(ends) // 10
    # As many rows in an early pack as in a late one; best-fit decreasing has 1 and 100.
    assert num_rows[:tenth].mean() == pytest.approx(num_rows[-tenth:].mean(), rel=0.1)
    assert np.abs(rows - np.arange(300_000)).max() < 3 * 2048


def test_many_rows_pack_tightly_and_fast():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(4.8, 0.9, 300_000).astype(np.int32) + 5, 1, 1024)
    began = time.perf_counter()
    packs = pack_lengths(lengths, 1024)
    assert time.perf_counter() - began < 3
    assert lengths.sum() / (len(packs) * 1024) > 0.97
    assert np.array_equal(np.sort(np.concatenate(packs)), np.arange(300_000))
    assert max(lengths[indices].sum() for indices in packs) == 1024


@dataclass
class Rows:
    """Some rows as a store keeps them."""

    lengths: np.ndarray
    place: np.ndarray
    made: list[int] = field(default_factory=list)

    def segment(self, i: int) -> Segment:
        self.made.append(i)
        return plain_segment(i, range(self.lengths[i]), 1)


def test_packs_of_a_store_are_made_when_they_are_asked_for():
    rows = Rows(np.array([4, 12, 4, 4, 3, 3, 4]), np.array([6, 0, 5, 2, 3, 1, 4]))
    packs = StorePacks(rows, 11)
    assert (len(packs), packs.num_too_long, packs.num_tokens, packs.real_share) == (3, 1, 22, 22 / 33)
    assert rows.made == []
    assert layout(packs[1:]) == [[6, 2], [0]] and rows.made == [6, 2, 0]
    assert [s.key for s in packs[0].segments] == [5, 3, 4]  # in the order of their places: 1, 2, 3
    assert layout(packs[-3:]) == layout(list(packs))
    with pytest.raises(IndexError):
        packs[3]


def test_a_store_without_rows_has_no_packs():
    packs = StorePacks(Rows(np.array([9]), np.array([0])), 8)
    assert (len(packs), packs.num_too_long, packs.real_share) == (0, 1, 0.0)
