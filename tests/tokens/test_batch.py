import dataclasses
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openflan.tokens.batch import Batch, collate
from openflan.tokens.pack import Pack, branched_segment, plain_segment, shared_segment

LOWEST = torch.finfo(torch.float32).min


def seen(mask: torch.Tensor, row: int = 0) -> list[str]:
    """One line per position: `x` where it may look, `.` where not."""
    assert set(mask.unique().tolist()) <= {0.0, torch.finfo(mask.dtype).min}
    return ["".join("x" if value == 0 else "." for value in line) for line in mask[row, 0].tolist()]


def test_plain_packs_written_out():
    first = Pack(8, [plain_segment(7, [11, 12, 13], 2), plain_segment(3, [21, 22], 1)])
    second = Pack(8, [plain_segment(5, [31, 32, 33], 3)])
    batch = collate([first, second], pad_id=9)
    assert batch.input_ids.tolist() == [[11, 12, 13, 21, 22], [31, 32, 33, 9, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 0, 0]]
    assert batch.segment.tolist() == [[1, 1, 1, 2, 2], [1, 1, 1, 0, 0]]
    assert batch.until.tolist() == [[3, 3, 3, 5, 5], [3, 3, 3, 4, 5]]
    # The first id of a segment, 31, has nothing before it, although it is supervised.
    assert batch.predict_from.tolist() == [[0, 0], [0, 1], [0, 3], [1, 0], [1, 1]]
    assert batch.labels.tolist() == [12, 13, 22, 32, 33]
    assert batch.keys.tolist() == [7, 7, 3, 5, 5]
    assert batch.branches.tolist() == [0, 0, 0, 0, 0]
    mask = batch.attention_mask(torch.float32)
    assert mask.shape == (2, 1, 5, 5)
    assert seen(mask, 0) == ["x....", "xx...", "xxx..", "...x.", "...xx"]
    assert seen(mask, 1) == ["x....", "xx...", "xxx..", "...x.", "....x"]


def test_a_branched_pack_written_out():
    packed = Pack(
        16, [branched_segment(4, [11, 12], [[13], [14, 15], [13, 16]]), branched_segment(2, [21], [[22], [23]])]
    )
    batch = collate([packed])
    assert batch.input_ids.tolist() == [[11, 12, 13, 14, 15, 13, 16, 21, 22, 23]]
    assert batch.positions.tolist() == [[0, 1, 2, 2, 3, 2, 3, 0, 1, 1]]
    assert batch.segment.tolist() == [[1, 1, 1, 1, 1, 1, 1, 2, 2, 2]]
    assert batch.until.tolist() == [[7, 7, 3, 5, 5, 7, 7, 10, 9, 10]]
    assert batch.predict_from.tolist() == [[0, 1], [0, 1], [0, 3], [0, 1], [0, 5], [0, 7], [0, 7]]
    assert batch.labels.tolist() == [13, 14, 15, 13, 16, 22, 23]
    assert batch.keys.tolist() == [4, 4, 4, 4, 4, 2, 2]
    assert batch.branches.tolist() == [1, 2, 2, 3, 3, 1, 2]
    assert seen(batch.attention_mask(torch.float32)) == [
        "x.........",
        "xx........",
        "xxx.......",
        "xx.x......",
        "xx.xx.....",
        "xx...x....",
        "xx...xx...",
        ".......x..",
        ".......xx.",
        ".......x.x",
    ]


def test_prompts_that_share_a_trunk_written_out():
    batch = collate([Pack(16, [shared_segment(4, [11, 12], [([13, 14], [[15], [16, 17]]), ([18], [[15]])])])])
    assert batch.input_ids.tolist() == [[11, 12, 13, 14, 15, 16, 17, 18, 15]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 4, 5, 2, 3]]
    assert batch.until.tolist() == [[9, 9, 7, 7, 5, 7, 7, 9, 9]]
    assert batch.predict_from.tolist() == [[0, 3], [0, 3], [0, 5], [0, 7]]
    assert (batch.labels.tolist(), batch.branches.tolist()) == ([15, 16, 17, 15], [2, 3, 3, 5])
    assert seen(batch.attention_mask(torch.float32)) == [
        "x........",
        "xx.......",
        "xxx......",
        "xxxx.....",
        "xxxxx....",
        "xxxx.x...",
        "xxxx.xx..",
        "xx.....x.",
        "xx.....xx",
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mask_has_the_models_dtype_and_stays_finite(dtype):
    mask = collate([Pack(4, [plain_segment(0, [5, 6], 1)])]).attention_mask(dtype)
    assert mask.dtype is dtype
    assert mask.isfinite().all()


def test_nothing_supervised_predicts_nothing():
    batch = collate([Pack(4, [plain_segment(0, [5, 6], 0)])])
    assert (batch.predict_from.shape, batch.predict_from.dtype) == ((0, 2), torch.int64)
    assert batch.labels.tolist() == []


def test_no_label_at_the_start_of_a_segment_and_none_on_padding():
    packs = [
        Pack(9, [plain_segment(k, range(10 * k, 10 * k + n), n) for k, n in row])
        for row in ([(1, 4), (2, 5)], [(3, 2)])
    ]
    batch = collate(packs, pad_id=99)
    assert set(batch.labels.tolist()) == {11, 12, 13, 21, 22, 23, 24, 31}
    assert 99 not in batch.labels


def token_by_token(packs: Sequence[Pack], pad_id: int) -> Batch:
    """The plain loop over every token and all that it continues: what `collate` says in arrays."""
    B, T = len(packs), max(pack.num_tokens for pack in packs)
    input_ids = torch.full((B, T), pad_id)
    positions, segment = (torch.zeros((B, T), dtype=torch.long) for _ in range(2))
    until = torch.arange(1, T + 1).repeat(B, 1)
    rows: list[tuple[int, int]] = []
    labels: list[int] = []
    keys: list[int] = []
    branches: list[int] = []
    for row, pack in enumerate(packs):
        start = 0
        for number, piece in enumerate(pack.segments, start=1):
            for i, (token, b, wanted) in enumerate(zip(piece.ids, piece.branch, piece.supervised, strict=True)):
                above = [b]
                while above[-1]:
                    above.append(piece.parents[above[-1] - 1] if piece.parents else 0)
                seen = [j for j in range(i) if piece.branch[j] in above]
                input_ids[row, start + i], segment[row, start + i] = token, number
                positions[row, start + i] = len(seen)
                for j in (*seen, i):
                    until[row, start + j] = start + i + 1
                if wanted and seen:
                    rows.append((row, start + seen[-1]))
                    labels.append(token)
                    keys.append(piece.key)
                    branches.append(b)
            start += len(piece)
    found = (torch.tensor(each, dtype=torch.long) for each in (labels, keys, branches))
    predict_from = torch.tensor(rows, dtype=torch.long).reshape(-1, 2)
    return Batch(input_ids, positions, segment, until, predict_from, *found)


IDS = st.lists(st.integers(0, 99), min_size=1, max_size=6)
KEYS = st.integers(0, 999)
PLAIN = st.builds(lambda key, ids, n: plain_segment(key, ids, min(n, len(ids))), KEYS, IDS, st.integers(0, 6))
BRANCHED = st.builds(branched_segment, KEYS, IDS, st.lists(IDS, min_size=1, max_size=4))
OPTIONS = st.lists(IDS, min_size=1, max_size=3)
SHARED = st.builds(shared_segment, KEYS, IDS, st.lists(st.tuples(IDS, OPTIONS), min_size=1, max_size=3))
PACKS = st.lists(
    st.lists(st.one_of(PLAIN, BRANCHED, SHARED), min_size=1, max_size=4).map(lambda row: Pack(99, row)),
    min_size=1,
    max_size=4,
)


@given(PACKS)
def test_it_is_the_loop_over_every_token(packs):
    found, expected = collate(packs, pad_id=7), token_by_token(packs, 7)
    for field in dataclasses.fields(Batch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), field.name
        assert torch.equal(one, other), field.name


def test_a_batch_goes_to_another_device_whole():
    batch = collate([Pack(8, [plain_segment(7, [11, 12, 13], 2)])])
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(Batch)} == {"meta"}
    assert moved.attention_mask(torch.float32).shape == (1, 1, 3, 3)
