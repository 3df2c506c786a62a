"""`openflan plan`: what a recipe would train on, before any weights are loaded, and how two recipes differ in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openflan.cli.options import AllowOverlap, Cards, DataRoot, Json, Recipe, Set, load_config, terminal_width

if TYPE_CHECKING:
    from openflan.config import RunConfig
    from openflan.study.prepare import Prepared


def plan(
    recipe: Recipe,
    against: Annotated[
        str | None, typer.Option(help="Another recipe: tell in what the two plans differ instead.")
    ] = None,
    tokens: Annotated[
        bool, typer.Option(help="Also count tokens, which needs the model's tokenizer, and estimate memory and time.")
    ] = True,
    changes: Set = None,
    against_changes: Annotated[
        list[str] | None, typer.Option("--against-set", help="As --set, for the other recipe.")
    ] = None,
    allow_overlap: AllowOverlap = None,
    data_root: DataRoot = None,
    catalog: Cards = None,
    as_json: Json = False,
) -> None:
    """Show what would be trained on, what is left out and why, and what it takes. Loads no weights.

    Example: openflan plan demo --against demo --against-set mixture.rates=equal
    """
    config = load_config(recipe, changes, data_root, catalog, allow_overlap)
    if against is None and not against_changes:
        _show(config, tokens, as_json)
        return
    other = load_config(against or recipe, against_changes, data_root, catalog, allow_overlap)
    _compare(config, other, as_json)


def _show(config: RunConfig, tokens: bool, as_json: bool) -> None:
    from openflan.report.plan import plan_text
    from openflan.study.directory import plan_summary

    shown: list[dict[str, Any]] = []
    for part in _prepared(config):
        shown.append(plan_summary(part))
        if tokens:
            from openflan.study.measure import measure

            shown[-1]["tokens"] = asdict(measure(part, config))
        if not as_json:
            print(plan_text(shown[-1], config.mixture.model_dump(), terminal_width()))
    if as_json:
        print(json.dumps(shown))


def _compare(config: RunConfig, other: RunConfig, as_json: bool) -> None:
    from openflan.errors import ConfigError
    from openflan.mixture.compare import compare_plans, different_settings
    from openflan.report.plan import difference_text

    both = [name for name in config.held_out if name in other.held_out]
    if not both:
        found = f"{', '.join(config.held_out)} against {', '.join(other.held_out)}"
        raise ConfigError(
            "held_out", found, "a cluster that both recipes hold out", "Compare plans that could be alike."
        )
    settings = different_settings(config.model_dump(mode="json"), other.model_dump(mode="json"))
    ours = {part.held_out: part.plan for part in _prepared(config, both)}
    theirs = {part.held_out: part.plan for part in _prepared(other, both)}
    shown = [{"held_out": name, "settings": settings, **compare_plans(ours[name], theirs[name])} for name in both]
    if as_json:
        print(json.dumps(shown))
        return
    for differences in shown:
        print(difference_text(differences, config.name, other.name, terminal_width()))


def _prepared(config: RunConfig, held_out: list[str] | None = None) -> list[Prepared]:
    from openflan.study.prepare import Rows, prepare
    from openflan.tasks.catalog import load_catalog

    catalog = load_catalog(config.data.cards)
    return [prepare(config, catalog, Rows(config.data.root), name) for name in held_out or config.held_out]
