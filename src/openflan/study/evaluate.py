"""Evaluating one model outside a study: any tasks or clusters, on one process or several."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from openflan import files
from openflan.config import evaluated_tasks
from openflan.environment import RANK_VARIABLES
from openflan.errors import ConfigError, DataError, OpenFlanError, RunError, did_you_mean
from openflan.evaluation.metrics import check_metrics
from openflan.evaluation.predictions import Prediction
from openflan.evaluation.requests import check_shots, draw_examples, draw_pool, max_new_tokens, requests_for
from openflan.evaluation.run import Part, evaluate
from openflan.evaluation.settings import EvalSettings
from openflan.finished import signed
from openflan.models.folder import model_fingerprint
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model
from openflan.models.remote import RemoteModel, load_remote
from openflan.models.settings import ModelSettings
from openflan.streams import file_fingerprint, fingerprint
from openflan.study.directory import read_config
from openflan.study.identity import EvaluationIdentity, library_versions, prediction_code
from openflan.study.job import is_launched
from openflan.study.launch import places, starting_deaf, starting_without_main
from openflan.study.prepare import Rows
from openflan.study.results import DEV, EVALUATION, TEST, EvaluatedTask, Evaluation, EvaluationRecord
from openflan.study.run_one import limits, stop_if_orphaned
from openflan.tasks.adapt import MERGED
from openflan.tasks.catalog import COLLECTIONS, REAL, USER, Catalog, Task, load_catalog
from openflan.tasks.example import Example
from openflan.tasks.sources import lacks_split
from openflan.tasks.splits import Split

OnPredictions = Callable[[Sequence[Prediction], int], None]
"""Told each batch, and how many predictions there will be; where processes share the work, of the first one's part."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Of a model behind a server, whose address is its path: the folder with its tokenizer, its name there, and the
    seconds that a request may take."""

    tokenizer: str
    name: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """Everything that `openflan eval` is asked for, but how many processes share it. `behind` tells a model behind a
    server from one in a folder."""

    model: ModelSettings
    settings: EvalSettings
    out: Path
    behind: Behind | None = None
    tasks: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    collection: str | None = None
    held_out_of: Path | None = None
    show_options: bool = True
    best_dev: bool = False
    seed: int = 0
    data_root: Path | None = None
    cards: tuple[Path, ...] = ()


def evaluate_model(
    asking: Asking, num_processes: int = 1, on_predictions: OnPredictions = lambda new, total: None
) -> Evaluation:
    """Evaluate, or go on with what was begun: predictions lie below `out`, in a directory that is named after the model
    and everything that decides them, so that another model or setting never meets them.

    Under `torchrun` or `accelerate launch` every process calls this; otherwise this one starts the others.
    """
    asking = _with_run(_with_paths(asking))
    files.check_place(asking.out)
    if is_launched():
        from openflan.training.ranks import join

        state = join()
        part = Part(int(state.process_index), int(state.num_processes), state.wait_for_everyone)
        return _evaluate_part(asking, part, on_predictions)
    if num_processes == 1:
        return _evaluate_part(asking, Part(), on_predictions)
    with _others(asking, num_processes) as wait:
        return _evaluate_part(asking, Part(0, num_processes, wait), on_predictions)


def _evaluate_part(asking: Asking, part: Part, on_predictions: OnPredictions) -> Evaluation:
    catalog, rows = load_catalog(asking.cards), Rows(asking.data_root)
    chosen = _chosen(asking, catalog)
    check_metrics(chosen)
    check_shots(chosen, asking.settings)
    examples = _draw(asking, chosen, rows, "test")
    dev = _draw_dev(asking, chosen, rows) if asking.best_dev else {}
    num_merged = {t.name: rows.dropped.get(f"{t.name}/test", {}).get(MERGED, 0) for t in chosen}
    num_dropped = {t.name: sum(rows.dropped.get(f"{t.name}/test", {}).values()) - num_merged[t.name] for t in chosen}
    for task in chosen:
        if not examples[task.name]:
            found = f"no test row of {task.name} ({num_dropped[task.name]:,} dropped)"
            raise DataError(task.path, found, "one or more", "See `openflan tasks check --data-root`.")
    shown = chosen if asking.settings.num_shots else ()
    pools = {t.name: draw_pool(t, rows.of(t, "train"), asking.seed) for t in shown}
    for task in shown:
        if not pools[task.name]:
            raise ConfigError("--shots", f"no training row of {task.name}", "one or more", "Ask without exemplars.")
    requests = [
        requests_for(chosen, some, asking.settings, pools, asking.seed)
        for some in ((examples, dev) if dev else (examples,))
    ]

    remote = _connect(asking.model, asking.behind) if asking.behind else None
    known = remote.fingerprint if remote else model_fingerprint(asking.model.path)
    called = _name(remote.name if remote else asking.model.path)
    content = [
        [[e.uid, e.fields, e.answer] for e in some] for which in (examples, dev, pools) for some in which.values()
    ]
    settings = {
        **asking.settings.deciding(),
        "show_options": asking.show_options,
        **asking.model.model_dump(mode="json", exclude={"path", "attention", "adapter"}),
    }
    _use_cores(part)
    model = remote or _load(asking.model)
    lengths = limits(asking.model, model.max_positions)
    identity = EvaluationIdentity(
        model=known,
        codec=model.codec.fingerprint,
        settings=settings,
        seed=asking.seed,
        rows=fingerprint(content),
        cards=file_fingerprint({task.path for task in chosen}),
        lengths=(lengths.max_input_tokens, lengths.max_total_tokens),
        code=prediction_code(),
        libraries=library_versions(),
    )
    folder = asking.out / f"{called}-{identity.key}"
    with files.exclusive(folder, wait=False) if part.rank == 0 else nullcontext():
        record = EvaluationRecord(
            name=called,
            identity=identity.key,
            model=asking.model.path,
            model_fingerprint=known,
            settings=settings,
            seed=asking.seed,
            tasks={
                t.name: EvaluatedTask(
                    metrics=t.metrics,
                    cluster=t.cluster,
                    dataset=t.dataset,
                    collection=t.collection,
                    num_examples=len(examples[t.name]),
                    num_dev_examples=len(dev.get(t.name, ())),
                    num_templates=1 if asking.settings.prompt == "completion" else len(t.scored_templates),
                    num_rows_dropped=num_dropped[t.name],
                    num_rows_merged=num_merged[t.name],
                    max_new_tokens=max_new_tokens(t, lengths) if t.card.answer.kind == "text" else None,
                )
                for t in chosen
            },
            warning=model.alone_because if isinstance(model, HuggingFaceModel) else None,
            reading=model.reading if isinstance(model, HuggingFaceModel) else None,
            server=str(remote.ways) if remote else None,
        )
        if part.rank == 0:
            files.write_json(folder / EVALUATION, signed(record.model_dump(mode="json")))
        total = sum(map(len, requests))
        for name, some in zip((TEST, DEV), requests, strict=False):
            store = folder / name
            evaluate(
                model,
                some,
                asking.settings,
                lengths,
                store,
                asking.show_options,
                lambda new: on_predictions(new, total),
                part,
                identity.key,
            )
    return Evaluation(folder, record)


def _connect(settings: ModelSettings, behind: Behind) -> RemoteModel:
    how = settings.separator, settings.chat_template
    return load_remote(settings.path, behind.tokenizer, behind.name, *how, behind.seconds)


def _load(settings: ModelSettings) -> HuggingFaceModel:
    """The model on this process's device."""
    model = load_model(settings, needs_packs=False)
    if torch.cuda.is_available():
        model.model.to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()))
        model.check_parity(Path(settings.path), needs_packs=False)
    return model


def _use_cores(part: Part) -> None:
    if part.num_processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        num_here = int(os.environ.get("LOCAL_WORLD_SIZE", part.num_processes))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // num_here))


def _name(path: str) -> str:
    """What a model is called: its folder, with the one above where that alone tells little.

    >>> _name("base"), _name("runs/demo/sentiment/tuned/model")
    ('base', 'sentiment-tuned')
    """
    parts = [part for part in Path(path).parts if part not in ("/", ".", "..")]
    named = parts[-3:-1] if parts[-1:] == [files.MODEL] else parts[-1:]
    return "-".join(named) or "model"


def _with_paths(asking: Asking) -> Asking:
    """With paths where text was given."""
    optional = {"held_out_of": asking.held_out_of, "data_root": asking.data_root}
    given = {name: files.as_path(path) for name, path in {"out": asking.out, **optional}.items() if path is not None}
    return replace(asking, cards=tuple(map(files.as_path, asking.cards)), **given)  # type: ignore[arg-type]


def _with_run(asking: Asking) -> Asking:
    """With the held-out tasks of a run in place of its directory; of one of its own models, those held out of that."""
    if asking.held_out_of is None:
        return asking
    run = asking.held_out_of
    config = read_config(run)
    cards = (*config.data.cards, *asking.cards)
    catalog = load_catalog(cards)
    inside = files.real_path(Path(asking.model.path))
    own = [name for name in config.held_out if inside.is_relative_to(files.real_path(run / name))]
    tasks = [task.name for name in own or config.held_out for task in evaluated_tasks(config, catalog, name)]
    root = asking.data_root or config.data.root
    return replace(asking, held_out_of=None, tasks=(*asking.tasks, *tasks), cards=cards, data_root=root)


def _chosen(asking: Asking, catalog: Catalog) -> list[Task]:
    if asking.collection not in (None, *COLLECTIONS, USER):
        hint = did_you_mean(asking.collection, [*COLLECTIONS, USER])
        raise ConfigError("--collection", repr(asking.collection), "a collection's name", hint)
    named = [catalog.task(name) for name in asking.tasks]
    for name in asking.clusters:
        if asking.collection is not None:
            named += catalog.in_cluster(name, asking.collection)
        else:
            # Rows of real datasets lie in a data root; the embedded world needs none, and would join their mean.
            has_own = any(task.collection == USER for task in catalog.in_cluster(name))
            preferred = REAL if asking.data_root and not has_own else None
            named += catalog.to_average(name, preferred, "Choose one: --collection NAME.")
    if not named:
        raise ConfigError(
            "eval", "no task to evaluate", "--task, --cluster or --held-out-of", "See `openflan tasks list`."
        )
    return list({task.name: task for task in named}.values())


def _draw(asking: Asking, tasks: Sequence[Task], rows: Rows, split: Split) -> dict[str, list[Example]]:
    return {
        t.name: draw_examples(list(rows.of(t, split)), asking.settings, asking.seed, t.card.group_by) for t in tasks
    }


def _draw_dev(asking: Asking, tasks: Sequence[Task], rows: Rows) -> dict[str, list[Example]]:
    """The dev rows of each task, none of a task that has no dev split; an error where no task has any."""
    having = [task for task in tasks if not lacks_split(task, "dev", asking.data_root)]
    # Where no task has a dev split, reading one tells what is missing.
    found = _draw(asking, having or tasks, rows, "dev")
    dev = {task.name: found.get(task.name, []) for task in tasks}
    if not any(dev.values()):
        raise ConfigError("--best-dev", f"no dev row of {', '.join(dev)}", "one or more", "Leave --best-dev out.")
    return dev


@contextmanager
def _others(asking: Asking, num_processes: int) -> Iterator[Callable[[], None]]:
    """Start the other processes, and give what waits for their end; none outlives the block."""
    context = get_context("spawn")
    processes: list[SpawnProcess] = []

    def wait() -> None:
        for process in processes:
            process.join()
        failed = [process.exitcode for process in processes if process.exitcode]
        if failed:
            do = "Repeat the command: it continues."
            raise RunError("eval", f"a process that ended with exit code {failed[0]}", "0", do)

    try:
        with starting_deaf(), starting_without_main():
            for rank, place in list(enumerate(places(num_processes)))[1:]:
                process = context.Process(target=_work, args=(asking, rank, num_processes, place), daemon=True)
                process.start()
                processes.append(process)
        yield wait
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(asking: Asking, rank: int, num_processes: int, place: dict[str, str]) -> None:
    """Entry of another process. Ctrl-C reaches the whole group; the first one ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in place.items() if name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE")})
    try:
        _evaluate_part(asking, Part(rank, num_processes), lambda new, total: stop_if_orphaned(new))
    except OpenFlanError as exc:
        print(f"openflan, process {rank}: {exc}", file=sys.stderr, flush=True)
        raise SystemExit(2) from exc
