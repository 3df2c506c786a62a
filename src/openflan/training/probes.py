"""How often a model finds the right continuation likelier than the wrong one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from openflan.models.lm import HuggingFaceModel
from openflan.tokens.batch import collate
from openflan.tokens.pack import branched_segment, pack
from openflan.world.probes import Probe

PACK_TOKENS = 1024


def probe(model: HuggingFaceModel, probes: Sequence[Probe]) -> dict[str, float]:
    """The share (0-1) of each skill's probes whose right continuation has the higher log-probability."""
    model.model.eval()
    encode = model.codec.encode
    segments = []
    for key, each in enumerate(probes):
        space = "" if each.context.endswith("\n") else " "
        context = encode(each.context)
        both = [encode(f"{each.context}{space}{text}")[len(context) :] for text in (each.right, each.wrong)]
        segments.append(branched_segment(key, context, both))
    margin = torch.zeros(len(probes))
    for packed in pack(segments, PACK_TOKENS):
        batch = collate([packed])
        log_probs = model.log_probs(batch)
        margin.index_add_(0, batch.keys, torch.where(batch.branches == 1, log_probs, -log_probs))
    skills = dict.fromkeys(each.skill for each in probes)
    right = {
        skill: [m > 0 for m, each in zip(margin.tolist(), probes, strict=True) if each.skill == skill]
        for skill in skills
    }
    return {skill: round(sum(found) / len(found), 3) for skill, found in right.items()}
