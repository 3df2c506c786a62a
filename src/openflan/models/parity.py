"""Whether packed logits equal those of each sequence alone. No config says what a model does with packs: it is tried.

This covers every trap at once: attention or positions that leak between segments or branches, windows that are lost or
count columns, and a head that does more to its output than `HuggingFaceModel.logits` knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from openflan.errors import ModelError
from openflan.models.windows import Windows, other_limits, shrunk, windows_of
from openflan.streams import seed_of
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, branched_segment, plain_segment, shared_segment

if TYPE_CHECKING:
    from openflan.models.lm import HuggingFaceModel

TOLERANCE = {torch.float32: 1e-4}
"""How far packed logits may be from those of each sequence alone: root mean square, over their standard deviation."""
COARSE_TOLERANCE = 0.05
"""The same where weights are not fp32: rounding alone makes it 0.01, a leak 0.5."""
MAX_TRIED = 512
"""The greatest limit, in tokens, beyond which layers are tried when no mask decides what they see."""
MIN_ROOM = 16
"""Positions after the start of a trial that it takes to try anything."""

Ids = list[int]


class Unlike(NamedTuple):
    """Why packs are not what each sequence is alone."""

    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """A pack, and what its last predicted ids are alone: what comes before them, and they."""

    pack: Pack
    paths: Sequence[tuple[Ids, Ids]]


def find_windows(model: HuggingFaceModel, where: Path, needs_packs: bool) -> tuple[Windows, str | None]:
    """How the model keeps its windows in packs; and why it cannot read the packs of scoring, if it cannot.

    ModelError for a model that looks ahead; where packs are needed, for one that cannot read those of training either.
    """
    _check_causal(model, where)
    ways = windows_of(model.model.config)
    reasons: list[Unlike] = []
    for windows in ways:
        if (unlike := first_difference(model, windows)) is None:
            return windows, None
        reasons.append(unlike)
    found, expected = reasons[0]  # of the way that the config suggests
    trainable = [windows for windows in ways if first_difference(model, windows, training=True) is None]
    if needs_packs and not trainable:
        raise ModelError(where, found, expected, "This architecture is not supported yet.")
    return (trainable or ways)[0], found


def first_difference(model: HuggingFaceModel, windows: Windows, training: bool = False) -> Unlike | None:
    """Why packs are not what each sequence is alone, or None where they are.

    Short sequences first. Then ones that are longer than each window, which is made small for that. Then ones that are
    longer than whatever else looks like a limit of a layer, in positions and, because of branches, in columns; in
    `training` no branches make a segment longer than its sequences. Layers that choose what they look at are refused.
    """
    short = _short(model)
    if unlike := _compare(model, windows, short):
        return unlike
    limits = other_limits(model.model, windows)
    for window in windows.distinct:
        whole = _alone(model, short)
        with shrunk(model.model, windows, window) as small:
            if distance(_alone(model, short), whole) < tolerance(model):  # the layers do not ask the config
                limits["chunk" if window.chunked else "sliding window"] = window.size
            elif unlike := _compare(model, small, short):
                return unlike
    for name, size in limits.items():
        if "topk" in name:  # no trial is sure to show it: a layer may choose the same tokens by luck
            found = f"layers that choose {size:,} places to look at ({name}), other segments' among them"
            return Unlike(found, "layers that look at their own segment")
        if size > MAX_TRIED:
            expected = f"at most {MAX_TRIED}, the longest that is tried in packs"
            return Unlike(f"layers with a {name.replace('_', ' ')} of {size:,} tokens", expected)
        if unlike := _compare(model, windows, _long(model, size, branched=not training)):
            return unlike
    return None


def draw_ids(model: HuggingFaceModel, name: str, num_ids: int) -> Ids:
    """Ids of the vocabulary, the same for the same name."""
    draw = torch.Generator().manual_seed(seed_of(0, name))
    return [int(i) for i in torch.randint(0, model.codec.vocab_size, (num_ids,), generator=draw)]


def distance(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the difference over the standard deviation of what is expected."""
    return float((found - expected).square().mean().sqrt() / expected.std())


def tolerance(model: HuggingFaceModel) -> float:
    """The distance that rounding may make."""
    return TOLERANCE.get(model.model.dtype, COARSE_TOLERANCE)


def _check_causal(model: HuggingFaceModel, where: Path) -> None:
    start, _, end, other = _pieces(model)
    if model.max_positions < (least := len(start) + MIN_ROOM):
        raise ModelError(where, f"{model.max_positions} positions", f"at least {least}", "Choose another model.")
    first, second = (model.logits_alone([*start, *rest])[: len(start)] for rest in (end, other))
    if not first.isfinite().all():
        do = "Download or save the model again; where its weights are finite, use another dtype."
        raise ModelError(where, "logits that are not finite, as of weights with NaN", "finite numbers", do)
    if not first.std():
        do = "Download or save the model again."
        raise ModelError(where, "logits that are all equal, as of an output head of zeros", "a trained model", do)
    if not distance(first, second) < tolerance(model):
        raise ModelError(where, "a model that looks ahead", "a causal language model", "Choose another one.")


def _compare(model: HuggingFaceModel, windows: Windows, trial: _Trial) -> Unlike | None:
    alone = _alone(model, trial)
    try:
        packed = model.logits(model.hidden(collate([trial.pack]), windows))[-len(alone) :]
    except Exception as exc:  # an architecture that takes no packs raises whatever its own code happens to raise
        found = f"a model that cannot read packs ({' '.join(str(exc).split())[:200]})"
        return Unlike(found, "one that takes positions and a 4-D attention mask")
    apart = distance(packed, alone)
    if apart < tolerance(model):
        return None
    found = f"packed logits that differ by {apart:.2g} of their spread from those of each sequence alone"
    return Unlike(found, f"less than {tolerance(model):g}")


def _alone(model: HuggingFaceModel, trial: _Trial) -> Tensor:
    return torch.cat([model.logits_alone(start + end)[len(start) - 1 : -1] for start, end in trial.paths])


def _pieces(model: HuggingFaceModel) -> tuple[Ids, Ids, Ids, Ids]:
    a, b, c, d = (draw_ids(model, f"parity {n}", n) for n in (7, 5, 3, 4))
    return [*model.codec.before, *a], [*model.codec.before, *b], c, d


def _short(model: HuggingFaceModel) -> _Trial:
    a, b, c, d = _pieces(model)
    segments = [plain_segment(0, a + c + d, 4), plain_segment(1, b + d + c, 3)]
    segments += [branched_segment(2, a, [c, d]), branched_segment(3, b, [d, c])]
    segments.append(shared_segment(4, a, [(c, [d]), (d, [c, d])]))
    paths = [(a + c, d), (b + d, c), (a, c), (a, d), (b, d), (b, c), (a + c, d), (a + d, c), (a + d, d)]
    return _Trial(Pack(1 << 30, segments), paths)


def _long(model: HuggingFaceModel, limit: int, branched: bool) -> _Trial:
    """One segment that goes beyond the limit, and beyond its columns by several branches of which the last counts."""
    a, _, c, d = _pieces(model)
    trunk = [*model.codec.before, *draw_ids(model, "parity long", min(limit, model.max_positions - 16))]
    if branched:
        branches = [*[c + d] * (2 + (limit - len(trunk)) // len(c + d)), d]
        return _Trial(Pack(1 << 30, [plain_segment(0, a, 1), branched_segment(1, trunk, branches)]), [(trunk, d)])
    return _Trial(Pack(1 << 30, [plain_segment(0, a, 1), plain_segment(1, trunk + c + d, 4)]), [(trunk + c, d)])
