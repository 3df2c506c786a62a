"""`openflan preview`: what a model reads, and what training counts, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openflan import files
from openflan.cli.options import STYLES, Cards, DataRoot, StyleName, check_known, own_cards
from openflan.errors import CatalogError, ConfigError, did_you_mean
from openflan.tasks.catalog import Catalog, Task, load_catalog

if TYPE_CHECKING:
    from openflan.report.preview import Preview
    from openflan.tasks.card import Template
    from openflan.tasks.example import Example
    from openflan.tasks.splits import Split
    from openflan.templates.render import Style

Show = Callable[["Example", "Task", "Template", "Sequence[Example]"], "Preview"]


def preview(
    name: Annotated[str, typer.Argument(help="A task, or a card file of your own.")],
    template: Annotated[str | None, typer.Option(help="Only this template; `completion` is one, too.")] = None,
    style: StyleName = STYLES[0],
    options: Annotated[bool, typer.Option(help="Show the options block.")] = True,
    shots: Annotated[int, typer.Option(min=0, help="Solved examples before each prompt.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 1,
    model: Annotated[
        str | None, typer.Option(help="A folder with a tokenizer, or `base`: show the ids that are trained on.")
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(help="Between prompt and target, with --model (default: what the folder was tuned with)."),
    ] = None,
    chat_template: Annotated[
        bool | None, typer.Option(help="With --model: the tokenizer's chat template in place of a separator.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page instead of printing.")] = None,
    data_root: DataRoot = None,
    catalog: Cards = None,
) -> None:
    """Print prompts exactly as a model reads them, with options and target; of the card's samples or of real rows.

    Example: openflan preview rte --template must-it-hold
    """
    from openflan.tasks.adapt import load_examples

    check_known("--style", style, STYLES)
    cards = [*(catalog or ()), *([Path(name)] if name.endswith((".yaml", ".yml")) else [])]
    boundary = {"separator": separator, "chat_template": chat_template}
    asked = {name: value for name, value in boundary.items() if value is not None}
    if asked and model is None:
        raise ConfigError("--separator and --chat-template", "no --model", "one: they show in its ids", "Name it.")
    show = _show(model, asked, style, options, shots)  # type: ignore[arg-type]  # one of STYLES
    previews = []
    for task in _named(load_catalog(own_cards(cards)), name):
        wordings = _wordings(task, template)
        examples, _ = load_examples(task, _split(task, data_root), data_root)
        for example in examples[:rows]:
            for wording in wordings if style == "instruction" else wordings[:1]:
                previews.append(show(example, task, wording, examples))
    _tell(previews, html, name)


def _split(task: Task, data_root: Path | None) -> Split:
    if data_root is None:
        return "samples"
    return "test" if task.source.splits.train is None else "train"


def _show(model: str | None, boundary: dict[str, Any], style: Style, options: bool, num_shots: int) -> Show:
    from openflan.report.preview import Preview, Token
    from openflan.templates.exemplars import choose_exemplars, render_few_shot

    def plain(example: Example, task: Task, wording: Template, pool: Sequence[Example]) -> Preview:
        exemplars = choose_exemplars(example, pool, num_shots)
        prompt = render_few_shot(example, exemplars, task, wording, style=style, show_options=options)
        return Preview(prompt, wording.inverted, (), _fewer(len(exemplars), num_shots))

    if model is None:
        return plain
    from openflan.models.folder import EMBEDDED, prompt_format
    from openflan.models.settings import ModelSettings
    from openflan.models.tokenizer import codec_of, load_tokenizer, pieces_of
    from openflan.tokens.encode import Fitted, Lengths, fit, training_ids

    tokenizer = load_tokenizer(model)
    tuned_with = prompt_format(EMBEDDED if model == "base" else Path(model))
    settings = files.parse(ModelSettings, boundary or tuned_with, "--separator and --chat-template")
    codec = codec_of(tokenizer, Path(model), settings.separator, settings.chat_template)
    lengths = Lengths()

    def with_ids(example: Example, task: Task, wording: Template, pool: Sequence[Example]) -> Preview:
        exemplars = choose_exemplars(example, pool, num_shots)
        fitted = fit(example, task, wording, codec, lengths, style, options, exemplars)
        if not isinstance(fitted, Fitted):
            note = f"too long: training drops it (limits: {lengths.max_input_tokens} ids of input, "
            note += f"{lengths.max_target_tokens} of target)"
            return Preview(plain(example, task, wording, pool).prompt, wording.inverted, (), (note,))
        ids, num_supervised = training_ids(fitted, codec)
        first = len(ids) - num_supervised
        pieces = zip(ids, pieces_of(tokenizer, ids), strict=True)
        tokens = tuple(Token(id, piece, i >= first) for i, (id, piece) in enumerate(pieces))
        notes = list(_fewer(fitted.num_exemplars, num_shots))
        if fitted.cut_words:
            notes.append(f"too long: {fitted.cut_words} words from the middle of a field are left out")
        return Preview(fitted.prompt, wording.inverted, tokens, tuple(notes))

    return with_ids


def _fewer(num_found: int, num_shots: int) -> tuple[str, ...]:
    return () if num_found == num_shots else (f"{num_found} of {num_shots} exemplars: no more are there, or fit",)


def _wordings(task: Task, template: str | None) -> list[Template]:
    known = [*task.templates, *([task.completion] if task.completion else [])]
    chosen = [t for t in known if t.id == template] if template is not None else list(task.templates)
    if not chosen:
        hint = did_you_mean(str(template), [t.id for t in known])
        raise CatalogError(task.path, f"no template {template!r}", "a template's id", hint)
    return chosen


def _named(found: Catalog, name: str) -> list[Task]:
    if name.endswith((".yaml", ".yml")):
        return [task for task in found.tasks.values() if files.real_path(task.path) == files.real_path(Path(name))]
    return [found.task(name)]


def _tell(previews: Sequence[Preview], html: Path | None, name: str) -> None:
    from openflan.report.preview import preview_html, preview_text

    if html is not None:
        files.write_text(html, preview_html(previews, f"Prompts of {Path(name).stem}"))
        print(html)
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for preview in previews:
        console.print(preview_text(preview))
