"""A recipe: the settings of all stages side by side, read from YAML, changed by `--set a.b=c`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from openflan import files
from openflan.errors import ConfigError, did_you_mean
from openflan.evaluation.settings import EvalSettings
from openflan.mixture.holdout import Exclusion
from openflan.mixture.settings import MixtureSettings
from openflan.models.settings import ModelSettings
from openflan.tasks.card import OwnPath, Strict
from openflan.tasks.catalog import Catalog, Task
from openflan.tasks.sources import has_rows
from openflan.training.settings import TrainSettings
from openflan.untrusted import MAX_DEPTH, MAX_SHOWN, yaml_value

STUDIES = Path(__file__).parent / "studies"


class DataSettings(Strict):
    """Which tasks there are and where their rows lie."""

    root: OwnPath | None = None
    """Folder with `<task>/<split>.jsonl[.gz]`; also `--data-root`."""
    cards: tuple[OwnPath, ...] = ()
    """Further cards, files or folders; also `--catalog`."""
    collection: str | None = None
    """Train on all tasks of one collection (`flan`, `world`) that have training rows; `tasks` names them one by one."""
    tasks: tuple[str, ...] = ()
    """Train on these tasks and no others. What is held out is taken away; a task of the only held-out cluster is an
    error."""
    evaluate: tuple[str, ...] = ()
    """Evaluate these tasks of a held-out cluster. Default: all of the collection, or of that of the training tasks."""
    missing: Literal["stop", "leave_out"] = "stop"
    """What to do about a task without rows below `root`: stop, or leave it out and say so in the plan."""


class RunConfig(Strict):
    """One experiment: each cluster of `held_out` in turn is kept out of tuning, and evaluated (paper, section 3)."""

    name: str
    """What the run is called: its directory is runs/<name> unless `--out` says otherwise."""
    seed: int = 0
    """Seed of everything that is drawn: rows, wordings, orders, dropout, the samples that are evaluated."""
    held_out: tuple[str, ...] = Field(min_length=1)
    """Clusters of tasks, each of them an experiment of its own: tuned without it, evaluated on it."""
    data: DataSettings
    """Which tasks there are and where their rows lie."""
    model: ModelSettings = ModelSettings()
    """The model to tune."""
    mixture: MixtureSettings
    """How the training mixture is made."""
    train: TrainSettings = Field(TrainSettings(), validate_default=True)
    """How it is optimised."""
    evaluation: EvalSettings = EvalSettings()
    """How the held-out cluster is evaluated."""
    shuffled_labels: bool = False
    """Also tune on answers that tell nothing about their rows: the control that shows what the format alone does."""
    num_jobs: int = Field(1, ge=1)
    """How many tunings and evaluations run side by side; no result depends on it."""

    @field_validator("held_out")
    @classmethod
    def _each_once(cls, held_out: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(held_out)) < len(held_out):
            raise ValueError("a cluster stands twice")
        return held_out

    @field_validator("train")
    @classmethod
    def _that_trains_the_adapter(cls, train: TrainSettings, info: ValidationInfo) -> TrainSettings:
        model = info.data.get("model")  # absent where it was refused
        return train.for_adapter(model.adapter.kind) if model and model.adapter else train


def load_recipe(path: str | Path, changes: Sequence[str] = ()) -> RunConfig:
    """The recipe in a YAML file, or of a packaged study by its name, with `a.b=value` changes applied.

    ConfigError names every wrong key and the file, or the changes where all that is wrong comes from them.
    """
    path, value = read_recipe(path, changes)
    try:
        return files.parse(RunConfig, value, path)
    except ConfigError as exc:
        wrong = exc.__cause__.errors() if isinstance(exc.__cause__, ValidationError) else []
        by = {i: _cause(problem["loc"], changes) for i, problem in enumerate(wrong)}
        if not by or not all(by.values()):
            raise
        where = ", ".join(dict.fromkeys(f"--set {str(change)[:MAX_SHOWN]}" for change in by.values()))
        raise ConfigError(where, exc.found, "a recipe's settings", exc.do) from exc


def _cause(loc: Sequence[int | str], changes: Sequence[str]) -> str | None:
    """The change, the last one, that set the key at `loc`, a part of it or what it lies in."""
    for change in reversed(changes):
        keys = change.partition("=")[0].split(".")
        if loc and all(key == str(part) for key, part in zip(keys, loc, strict=False)):
            return change
    return None


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> tuple[Path, Any]:
    """Where a recipe lies and what stands in it, changed as asked for: its keys only, no defaults, nothing checked."""
    path = files.as_path(path)
    if not path.suffix and not path.is_file():
        names = [study.stem for study in STUDIES.glob("*.yaml")]
        if str(path) not in names:
            raise ConfigError(
                "the recipe", repr(str(path)), "a YAML file or a packaged study", did_you_mean(str(path), names)
            )
        path = STUDIES / f"{path}.yaml"
    value = files.read_yaml(path)
    for change in changes:
        value = _changed(value, change)
    return path, value


def _changed(value: Any, change: str) -> Any:
    """A copy of nested dicts with the one key of `change` set; its value is read as YAML."""
    where = f"--set {change[:MAX_SHOWN]}"
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(where, "no `=`", "`key=value`", "For example --set train.learning_rate=1e-4.")
    try:
        new = yaml_value(text)
    except ValueError as exc:
        raise ConfigError(where, f"a value that is not plain YAML: {exc}", "`key=value`", "Quote the value.") from exc
    if new == text:  # what is quoted stays text
        new = _number(new)
    keys = key.split(".")
    if len(keys) > MAX_DEPTH:
        raise ConfigError(where, f"{len(keys):,} keys", "those of one setting")
    return _with(value, keys, new)


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-4 as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _with(value: Any, keys: list[str], new: Any) -> dict[str, Any]:
    inner = dict(value) if isinstance(value, dict) else {}
    inner[keys[0]] = _with(inner.get(keys[0]), keys[1:], new) if keys[1:] else new
    return inner


def candidate_tasks(config: RunConfig, catalog: Catalog) -> list[Task]:
    """The tasks that the recipe names for training, before hold-out."""
    data = config.data
    if data.tasks:
        return _named_tasks(config, catalog)
    collections = sorted({task.collection for task in catalog.tasks.values()})
    if data.collection not in collections:
        found = f"the collection {data.collection!r}" if data.collection else "neither `tasks` nor `collection`"
        raise ConfigError("data", found, f"`tasks`, or one of the collections {', '.join(collections)}")
    return [task for task in catalog.tasks.values() if task.collection == data.collection]


def present_tasks(
    config: RunConfig, tasks: Sequence[Task], split: Literal["train", "test"]
) -> tuple[list[Task], list[Exclusion]]:
    """Sort `tasks` into those to read the rows of a split from and those to go without, each in the order given.

    Without are the tasks of a collection that no rows are to be trained on (a test set alone), and with
    `data.missing: leave_out` those whose rows are not there. ConfigError when nothing is left.
    """
    present: list[Task] = []
    absent: list[Exclusion] = []
    for task in tasks:
        if split == "train" and task.source.splits.train is None and not config.data.tasks:
            absent.append(Exclusion(task.name, "it has no training rows; it is only evaluated"))
        elif config.data.missing == "leave_out" and not has_rows(task, split, config.data.root):
            what = "its train rows" if split == "train" else "it is not evaluated either: its test rows"
            absent.append(Exclusion(task.name, f"{what} are not in {config.data.root or 'any --data-root'}"))
        else:
            present.append(task)
    if not present:
        where = config.data.root or "data.root"
        raise ConfigError(where, f"{split} rows of none of {len(tasks)} tasks", "at least one", "Give --data-root DIR.")
    return present, absent


def _named_tasks(config: RunConfig, catalog: Catalog) -> list[Task]:
    """ConfigError for a task that the recipe holds out in every turn: it names it and its cluster, and means one.

    With several held-out clusters each task is trained on in the others' turns. What leaves for a reason that the
    recipe does not name itself (clusters held out together, families, sources) is no contradiction; the plan tells it.
    """
    tasks = [catalog.task(name) for name in dict.fromkeys(config.data.tasks)]
    never = [task.name for task in tasks if config.held_out == (task.cluster,)]
    if never:
        found = f"{', '.join(never)}, of the one cluster that is held out, {config.held_out[0]}"
        do = "Take them out of data.tasks, or hold out another cluster, too."
        raise ConfigError("data.tasks", found, "tasks that may be trained on", do)
    return tasks


def evaluated_tasks(config: RunConfig, catalog: Catalog, held_out: str) -> list[Task]:
    """The tasks of the held-out cluster that are evaluated: those named, or those of one collection.

    Where the recipe names no collection it is that of the training tasks; ConfigError where these have several.
    """
    if config.data.evaluate:
        named = [catalog.task(name) for name in config.data.evaluate]
        for task in named:
            if task.cluster not in config.held_out:
                found = f"{task.name}, whose cluster, {task.cluster}, is not held out"
                raise ConfigError("data.evaluate", found, "tasks of the held-out clusters")
        tasks = [task for task in catalog.in_cluster(held_out) if task in named]
    elif config.data.collection is not None:
        tasks = catalog.in_cluster(held_out, config.data.collection)
    else:
        trained = {catalog.task(name).collection for name in config.data.tasks}
        preferred = trained.pop() if len(trained) == 1 else None
        tasks = catalog.to_average(held_out, preferred, "Name a data.collection, or the tasks in data.evaluate.")
    if not tasks:
        raise ConfigError("data", f"no task of {held_out} to evaluate", "at least one", "Name them in data.evaluate.")
    return tasks
