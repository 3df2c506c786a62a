"""The README.md of a tuned model, written from what its run wrote down: what a stranger needs to use and judge it.

The front matter is what the Hugging Face hub reads. A licence is left to whoever publishes the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openflan import files
from openflan.errors import RunError
from openflan.finished import checked, record_of
from openflan.report.tables import percent, words
from openflan.study.job import SHUFFLED_JOB
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import Task, load_catalog
from openflan.templates.render import render

EOS_SEPARATOR = "<eos>"  # in a recipe: the end-of-text id itself
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB_CACHE = re.compile(r"/models--([\w.-]+?)--([\w.-]+)/snapshots/")
LOSS = {
    "token_mean": "its mean over all supervised tokens of an update",
    "example_mean": "its mean over the supervised tokens of each example, and of these over the examples of an update",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run's directory tells about one of its models, as it was written: `run` is run.yaml, `plan` plan.json,
    `environment`, `totals`, `log` (the last updates) and `reading` (how the model was read, with its windows and
    positions; None in runs of versions that did not say) what was kept with the finished model. `kind` is tuned or
    shuffled."""

    kind: str
    run: Mapping[str, Any]
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]
    totals: Mapping[str, Any]
    log: Sequence[Mapping[str, float]]
    reading: str | None = None


def write_model_card(folder: Path) -> Path:
    """Write the card of the model in `folder`, `<run>/<held out>/<kind>/model`, and return its path.

    RunError when the files that the run wrote are not there or damaged.
    """
    manifest = read_manifest(folder)
    cards = manifest.run["config"]["data"]["cards"]
    files.write_text(folder / files.CARD, model_card(manifest, load_catalog([Path(card) for card in cards]).tasks))
    return folder / files.CARD


def read_manifest(folder: Path) -> Manifest:
    """What lies around a model's folder in the directory of its run."""
    job = folder.resolve().parent
    run = files.read_yaml(job.parents[1] / files.RUN, RunError)
    if not isinstance(run, dict) or "config" not in run:
        raise RunError(job.parents[1] / files.RUN, "no `config`", "the run.yaml of a run", "Begin another run.")
    checked(run, job.parents[1] / files.RUN, "Begin another run.")
    record = record_of(folder)
    if record is None:
        raise RunError(
            folder, f"no {files.DONE}", "a model whose training is finished", "Repeat the command of its run."
        )
    return Manifest(
        kind=job.name, run=run, plan=files.read_json_object(job.parent / files.PLAN_SUMMARY), **record["facts"]
    )


def model_card(manifest: Manifest, tasks: Mapping[str, Task]) -> str:
    """The card as Markdown. `tasks` holds at least those of the plan. Whatever comes from a card of a dataset, a recipe
    or a path is escaped."""
    config, plan = manifest.run["config"], manifest.plan
    trained = {name: tasks[name] for name, row in plan["tasks"].items() if row["num_examples"]}
    held_out = words(plan["held_out"])
    parts = [
        f"# {plain(config['name'])}: tuned without {held_out}",
        f"A causal language model, {code(Path(config['model']['path']).name)}, instruction-tuned on "
        f"{len({task.dataset for task in trained.values()})} datasets and on nothing of the kind of task called "
        f"{held_out}, in the manner of FLAN (Wei et al., ICLR 2022), by OpenFLAN.",
        *_warnings(manifest),
        "## How to prompt it",
        *_prompting(config, trained),
        "## What it was trained on",
        _trained_table(plan, trained),
        "Shares are of prompts. Licences are quoted from the cards of the datasets; what they mean for a model that "
        "was made from them is for whoever publishes it to find out.",
        "## What was held out",
        *_held_out(plan),
        "## How it was trained",
        *_training(manifest),
        "## How to make it again",
        *_again(manifest),
        "## Limits",
        *_limits(held_out),
    ]
    return front_matter(config, trained.values()) + "\n" + "\n\n".join(parts) + "\n"


def front_matter(config: Mapping[str, Any], trained: Iterable[Task]) -> str:
    """The YAML that the hub reads; names that it would refuse are left out."""
    adapter = config["model"].get("adapter")
    base = HUB_CACHE.search(str(config["model"]["path"]))  # another folder's name says nothing about the hub
    hub = sorted({str(task.source.hub) for task in trained if task.source.hub and HUB_ID.fullmatch(task.source.hub)})
    facts: dict[str, Any] = {"library_name": "peft" if adapter else "transformers", "pipeline_tag": "text-generation"}
    if base:
        facts["base_model"] = "/".join(base.groups())
    facts["tags"] = [
        "openflan",
        "flan",
        "instruction-tuning",
        *([adapter["kind"].replace("_", "-")] if adapter else []),
    ]
    if hub:
        facts["datasets"] = hub
    todo = "# license: to be chosen by whoever publishes this model; the datasets' own are in the table below\n"
    if not base:
        todo += "# base_model: the id of the base model on the hub, if it has one\n"
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}{todo}---\n"


def _warnings(manifest: Manifest) -> list[str]:
    found = []
    if manifest.kind == SHUFFLED_JOB:
        found.append("> **A control, not for use.** It was tuned on answers that have nothing to do with their rows.")
    overlap = manifest.plan["overlap"]
    if overlap["action"] == "allow" and overlap["num_rows"]:
        found.append(
            f"> **Not held out by text.** {overlap['num_rows']:,} training rows show texts of held-out rows and were "
            f"allowed to. The reason that was given: {plain(overlap['reason'])}"
        )
    return found


def _prompting(config: Mapping[str, Any], trained: Mapping[str, Task]) -> list[str]:
    model = config["model"]
    if model.get("chat_template"):
        form = "Prompt and answer stand in the tokenizer's chat template, as the user's text and the assistant's."
    else:
        between = "the end-of-text token" if model["separator"] == EOS_SEPARATOR else code(repr(model["separator"]))
        form = (
            f"Between prompt and answer stands {between}. The two are encoded apart and joined as ids; a begin-of-text "
            "token comes first where the tokenizer itself adds one, and end of text ends the answer."
        )
    limits = (
        f"Prompts had at most {model['max_input_tokens']:,} tokens in training, answers {model['max_target_tokens']:,}."
    )
    return [f"{form} {limits}", fence("python", example_code(config, trained))]


def example_code(config: Mapping[str, Any], trained: Mapping[str, Task]) -> str:
    """A program that asks the model in the folder it is run in, with the first prompt of the first dataset."""
    model, task = config["model"], next(iter(trained.values()))
    example = load_examples(task, "samples")[0][0]
    prompt = render(example, task, task.scored_templates[0], style=config["mixture"]["style"]).input
    library, loader = ("peft", "AutoPeft") if model.get("adapter") else ("transformers", "Auto")
    lines = [
        "import torch",
        *([f"from peft import {loader}ModelForCausalLM"] if library == "peft" else []),
        f"from transformers import {'' if library == 'peft' else 'AutoModelForCausalLM, '}AutoTokenizer",
        "",
        'folder = "."  # where this file lies',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {loader}ModelForCausalLM.from_pretrained(folder)",
        f"prompt = {prompt!r}",
    ]
    if model.get("chat_template"):
        lines += [
            'chat = [{"role": "user", "content": prompt}]',
            "text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)",
            "ids = tokenizer.encode(text, add_special_tokens=False)",
        ]
    else:
        end = "[tokenizer.eos_token_id]"
        between = end if model["separator"] == EOS_SEPARATOR else f"encode({model['separator']!r})"
        lines += [
            "",
            "def encode(text):",
            "    return tokenizer.encode(text, add_special_tokens=False)",
            "",
            'start = [tokenizer.bos_token_id] if tokenizer.bos_token_id in tokenizer.encode("a")[:1] else []',
            f"ids = start + encode(prompt) + {between}",
        ]
    return "\n".join(
        [
            *lines,
            "ids = torch.tensor([ids])",
            f"options = {{'max_new_tokens': {model['max_target_tokens']}, 'do_sample': False}}",
            "answer = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)",
            "print(tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True))",
        ]
    )


def _trained_table(plan: Mapping[str, Any], trained: Mapping[str, Task]) -> str:
    rows = []
    for name, task in trained.items():
        row = plan["tasks"][name]
        rows.append(
            (
                code(name),
                words(row["cluster"]),
                percent(row["requested_share"]),
                percent(row["achieved_share"]),
                f"{row['num_rows_used']:,} of {row['num_rows_available']:,}",
                f"{row['num_examples']:,}",
                plain(task.card.licence),
            )
        )
    return table(("task", "cluster", "share asked, %", "share got, %", "rows used", "prompts", "licence"), rows)


def _held_out(plan: Mapping[str, Any]) -> list[str]:
    evaluated = ", ".join(f"{code(name)} ({number:,} rows)" for name, number in plan["evaluated"].items())
    overlap = plan["overlap"]
    texts = f"{overlap['num_rows']:,} training rows show texts of held-out rows"
    done = {"remove": "They were left out.", "allow": f"They were trained on: {plain(overlap.get('reason') or '')}"}
    parts = [
        f"The whole cluster, {words(plan['held_out'])}, which is evaluated on {evaluated}; and every dataset of one "
        "family with a task of it, or that shares a source with one."
    ]
    if plan["excluded"]:
        parts.append(table(("task", "why not"), [(code(name), plain(why)) for name, why in plan["excluded"].items()]))
    parts.append(f"{texts}. {done[overlap['action']]}" if overlap["num_rows"] else f"No {texts.partition(' ')[2]}.")
    return parts


def _training(manifest: Manifest) -> list[str]:
    config, log = manifest.run["config"], manifest.log
    train = config["train"]
    what = f"{words(config['model']['adapter']['kind'])}" if config["model"].get("adapter") else "all weights"
    lines = [
        f"- Trained: {what}, with {train['optimizer']} at a learning rate of {train['learning_rate']:g}, "
        f"{train['schedule']}; {train['packs_per_update'] * train['pack_tokens']:,} tokens an update.",
        f"- Loss: cross-entropy on the tokens of the answer and what ends it; {LOSS[train.get('loss', 'token_mean')]}.",
    ]
    if manifest.reading:
        lines.append(f"- Model: {manifest.reading}.")
    if log:
        mean = sum(line["loss"] for line in log) / len(log)
        lines.append(f"- Updates: {log[-1]['update'] + 1:,.0f}; mean loss of the last {len(log)}: {mean:.4f}.")
    lines += [f"- {plain(name).capitalize()}: {number or 'none'}." for name, number in _counts(manifest.totals)]
    for where, reasons in manifest.plan["num_rows_dropped"].items():
        told = ", ".join(f"{number:,} {plain(reason)}" for reason, number in reasons.items())
        lines.append(f"- Rows of {code(where)} that did not become examples: {told}.")
    return ["\n".join(lines)]


def _counts(totals: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was counted, in words; counts within a count in brackets, where they are not zero. What concerns updates and
    evaluation is left out."""
    for name, value in totals.items():
        label = words(name.removeprefix("num_"))
        if isinstance(value, Mapping):
            inner = ", ".join(f"{plain(part)} ({number})" for part, number in _counts(value) if number not in ("0", ""))
            yield label, inner
        elif isinstance(value, int | float) and name not in ("num_updates", "num_predictions"):
            yield label, f"{value:,}"


def _again(manifest: Manifest) -> list[str]:
    environment, config = manifest.environment, manifest.run["config"]
    versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in environment["packages"].items())
    recipe = {
        **config,
        "data": {**config["data"], "root": None},
    }  # where rows lie on one machine means nothing elsewhere
    return [
        f"OpenFLAN {plain(environment['openflan'])} on Python {plain(environment['python'])} with {versions}. "
        f"Fingerprint of the plan: {code(manifest.plan['fingerprint'])}; of the run: "
        f"{code(manifest.run['fingerprint'])}. `openflan plan` shows the former before anything is trained.",
        "Save this as recipe.yaml, then `openflan train recipe.yaml --data-root DATA --out DIR`; the model is that of "
        f"{words(manifest.plan['held_out'])}.",
        fence("yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120).rstrip()),
    ]


def _limits(held_out: str) -> list[str]:
    return [
        f"- Zero-shot means {held_out} alone: all other clusters of the table were trained on.\n"
        "- Hold-out speaks of tuning. What the base model read in pretraining is not known to it.\n"
        "- The paper found that tuning lowers held-out scores of models of 8 billion parameters and below.\n"
        "- Nothing was done about harmful, biased or false text, in the datasets or in what the model writes."
    ]


def plain(text: object) -> str:
    r"""Text in one line that Markdown and HTML leave as it is.

    >>> print(plain("<b>| [a](b)\n# c"))
    \<b\>\| \[a\]\(b\) \# c
    """
    return re.sub(r"([\\`*_{}\[\]()<>#|~!&$])", r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """Text in one line as code, whatever is in it.

    >>> print(code("a`b"), code("x"))
    `` a`b `` `x`
    """
    line = " ".join(str(text).split())
    ticks = _ticks(line, 1)
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def fence(language: str, text: str) -> str:
    """A block of code that ends where it should."""
    ticks = _ticks(text, 3)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _ticks(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
