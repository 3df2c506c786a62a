"""What is asked of a base while it is pretrained."""

from dataclasses import replace

from openflan.models.load import load_model
from openflan.models.settings import ModelSettings
from openflan.training.probes import probe
from openflan.world.facts import RELATIONS, Fact, may_tell
from openflan.world.lexicon import NAMES
from openflan.world.probes import Probe, draw_probes


def test_a_probe_is_right_where_the_right_text_is_likelier():
    model = load_model(ModelSettings(path="base"))
    probes = [Probe("copy", f"{name}, Tom, {name}, Tom, {name},", "Tom", "castle the") for name in NAMES[:8]]
    probes += [Probe("line", f"Anna, {name}.\nAnna,\n", "lamp of of", name) for name in NAMES[:4]]
    assert probe(model, probes) == {"copy": 1.0, "line": 0.0}
    swapped = [replace(each, right=each.wrong, wrong=each.right) for each in probes]
    assert probe(model, swapped) == {"copy": 0.0, "line": 1.0}


def test_probes_are_test_scenes():
    probes = draw_probes(0, 20)
    assert len(probes) == 20 * 17
    assert draw_probes(0, 3) == probes[: 3 * 17]
    assert draw_probes(1, 1) != probes[:17]
    facts = [Fact(n, relation, v) for n in NAMES for relation in RELATIONS for v in relation.values]
    known = {wording: fact for fact in facts for wording in map(fact.fill, fact.relation.statements)}
    counts = 0
    for each in probes:
        told = [known[said] for part in each.context.split("\n")[0].split(".") if (said := part.strip() + ".") in known]
        if " of " in each.skill and len(told) > 1:
            assert may_tell(told, "test")
            counts += 1
    assert counts == 20 * 8
    assert all(each.right != each.wrong for each in probes)
