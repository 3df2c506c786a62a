"""Ranking options by log-probability: a prompt is read once, and all its options branch from it in the same pass.

So do prompts that begin alike, with the same exemplars or the same passage: what they share is read once as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from openflan.models.lm import LanguageModel
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, branched_segment, pack, shared_segment

Ids = Sequence[int]

LEAST_SHARED = 32
"""Fewer tokens than these are not worth being shared."""
STEP = 16
"""How finely it is looked at where prompts stop being alike when groups of them are chosen."""


@dataclass(frozen=True, slots=True)
class OptionPrompt:
    """The ids of a prompt and of each of its options; no option is empty."""

    ids: Ids
    options: Sequence[Ids]

    def __len__(self) -> int:
        return len(self.ids) + sum(map(len, self.options))


@dataclass(frozen=True, slots=True)
class OptionBatch:
    """What goes through the model at once. `owners`: the requests that a segment has the options of, in their order,
    and how many options each has, by the segment's key."""

    packs: tuple[Pack, ...]
    owners: Mapping[int, Sequence[tuple[int, int]]]

    @property
    def requests(self) -> list[int]:
        """The keys of all requests in it."""
        return [request for owner in self.owners.values() for request, _ in owner]

    @property
    def num_tokens(self) -> int:
        """How many tokens are processed, those that only pad left out."""
        return sum(pack.num_tokens for pack in self.packs)


def pack_options(requests: Mapping[int, OptionPrompt], pack_tokens: int, packs_per_batch: int = 1) -> list[OptionBatch]:
    """All requests in batches; the same ones for the same requests, in whatever order.

    Prompts that share a beginning make one segment, as many as fit into a batch; the others are packed by length.
    """
    batches: list[OptionBatch] = []
    single: list[int] = []
    keys = sorted(requests, key=lambda key: (tuple(requests[key].ids), key))
    for group in shared_groups([requests[key].ids for key in keys]):
        members = [keys[i] for i in group]
        if len(members) == 1:
            single += members
            continue
        first, last = requests[members[0]].ids, requests[members[-1]].ids
        trunk = _num_alike(first, last)
        part: list[int] = []
        size = trunk
        for member in members:
            more = len(requests[member]) - trunk
            if part and size + more > pack_tokens * packs_per_batch:
                batches.append(_shared(part, requests, trunk))
                part, size = [], trunk
            part.append(member)
            size += more
        batches.append(_shared(part, requests, trunk))
    segments = [branched_segment(key, requests[key].ids, requests[key].options) for key in single]
    packs = pack(segments, max([pack_tokens, *map(len, segments)]))
    for start in range(0, len(packs), packs_per_batch):
        some = packs[start : start + packs_per_batch]
        owners = {s.key: [(s.key, len(requests[s.key].options))] for p in some for s in p.segments}
        batches.append(OptionBatch(tuple(some), owners))
    return batches


def _shared(members: Sequence[int], requests: Mapping[int, OptionPrompt], trunk: int) -> OptionBatch:
    prompts = [(requests[key].ids[trunk:], requests[key].options) for key in members]
    segment = shared_segment(members[0], requests[members[0]].ids[:trunk], prompts)
    owners = {members[0]: [(key, len(requests[key].options)) for key in members]}
    return OptionBatch((Pack(len(segment), [segment]),), owners)


def shared_groups(prompts: Sequence[Ids]) -> list[range]:
    """Which prompts, sorted by their ids, are to share their beginning: groups that save the most tokens.

    Where prompts begin alike, and some of them go on alike for longer, either all of them share little or some share
    much: whatever saves more.

    >>> exemplars, passage = list(range(100)), list(range(50, 98))
    >>> shared_groups([[*exemplars, 7, 1], [*exemplars, 7, 2], [*exemplars, 8], passage + [1], passage + [2]])
    [range(0, 3), range(3, 5)]
    """
    alike = [_num_alike(a, b, STEP) for a, b in pairwise(prompts)]
    alike = [number if number >= LEAST_SHARED else 0 for number in alike]
    return _best_groups(alike, 0, len(prompts))[1]


def _best_groups(alike: Sequence[int], start: int, end: int) -> tuple[int, list[range]]:
    """The tokens saved and the groups, of prompts `start` to `end`; `alike[i]` is what prompts i and i + 1 share."""
    if end - start <= 1:
        return 0, [range(start, end)] if end > start else []
    least = min(alike[start : end - 1])
    cuts = [start, *(i + 1 for i in range(start, end - 1) if alike[i] == least), end]
    parts = [_best_groups(alike, a, b) for a, b in pairwise(cuts)]
    apart = sum(saved for saved, _ in parts)
    together = (end - start - 1) * least
    if together > apart:
        return together, [range(start, end)]
    return apart, [group for _, groups in parts for group in groups]


def _num_alike(a: Ids, b: Ids, step: int = 1) -> int:
    """How many ids two prompts begin with alike, in whole steps, leaving each one id of its own at least."""
    low, high = 0, (min(len(a), len(b)) - 1) // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[: middle * step] == b[: middle * step] else (low, middle - 1)
    return low * step


def score_options(model: LanguageModel, batch: OptionBatch) -> dict[int, tuple[float, ...]]:
    """Log-probability of each option in nats, by the key of its request.

    The sum over the option's tokens, end of text not included, as in FLAN's rank classification (paper, section 2.5).
    """
    tensors = collate(batch.packs)
    sums: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    values = model.log_probs(tensors).double().tolist()
    for key, branch, value in zip(tensors.keys.tolist(), tensors.branches.tolist(), values, strict=True):
        sums[key][branch] += value
    found: dict[int, tuple[float, ...]] = {}
    for key, owner in batch.owners.items():
        options = iter([sums[key][branch] for branch in sorted(sums[key])])
        for request, num_options in owner:
            found[request] = tuple(next(options) for _ in range(num_options))
    return found
