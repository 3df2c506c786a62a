"""One job from the recipe to its predictions: the one place where all stages meet, read from top to bottom."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping

import torch

from openflan import files
from openflan.errors import ConfigError
from openflan.evaluation.requests import Request, check_shots, draw_pool, requests_for
from openflan.evaluation.run import evaluate
from openflan.finished import finish, is_finished, record_of
from openflan.models.adapters import add_adapter
from openflan.models.folder import model_fingerprint
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, load_weights, save_model
from openflan.models.settings import ModelSettings
from openflan.streams import file_fingerprint, fingerprint
from openflan.study.directory import versions
from openflan.study.encode import encode_plan, pack_store
from openflan.study.job import SHUFFLED_JOB, TOTALS, UNTUNED_JOB, Job, rank
from openflan.study.prepare import Prepared, Rows, prepare
from openflan.tasks.catalog import load_catalog
from openflan.tokens.encode import Lengths
from openflan.tokens.store import default_folder
from openflan.training.log import UpdateLog
from openflan.training.loop import PacksOf, shuffled_updates, train

NUM_LAST_UPDATES = 50
"""Whose loss is told of a tuned model."""


def run_one(job: Job, on_update: Callable[[], None] = lambda: None) -> None:
    """Run one job to its end, or go on where an earlier process stopped; the end is marked with DONE.

    Where several processes share the job, they tune together, and rank 0 writes and evaluates.
    """
    config = job.config
    prepared = prepare(config, load_catalog(config.data.cards), Rows(config.data.root), job.held_out)
    if config.train.num_threads:
        torch.set_num_threads(config.train.num_threads)
    model = load_model(config.model)
    if rank() == 0 and job.tells:
        print(f"{config.model.path}: {model.reading}", file=sys.stderr)
    if config.model.adapter and job.kind != UNTUNED_JOB:
        add_adapter(model, config.model.adapter, config.seed)  # before encoding: a learned prompt has ids of its own
    lengths = limits(config.model, model.max_positions)
    requests: list[Request] = []
    if job.evaluates:
        tasks, settings = prepared.evaluated, config.evaluation
        check_shots(tasks, settings)
        shown = tasks if settings.num_shots else ()
        pools = {task.name: draw_pool(task, prepared.rows.of(task, "train"), config.seed) for task in shown}
        requests = requests_for(tasks, prepared.test_examples, settings, pools, config.seed)
    totals: dict[str, float] = {"num_predictions": len(requests) * len(job.stores), "num_updates": 0}
    if job.kind != UNTUNED_JOB:
        shuffled = job.kind == SHUFFLED_JOB
        store = encode_plan(prepared, config, model.codec, lengths, shuffled, default_folder(), stop_if_orphaned)
        packs, counts = pack_store(store, config.train.pack_tokens)
        packs_of, num_updates = shuffled_updates(packs, config.train, config.seed)
        totals |= {"num_updates": num_updates, **counts}
        _write_totals(job, totals)

        def describe(key: int) -> str:
            row = prepared.plan.rows[int(store.place[key])]
            return f"{row.uid} (template {row.template})"

        def after(line: object) -> None:
            stop_if_orphaned(line)
            on_update()

        _tune(job, store.path.parent.name, model, packs_of, num_updates, after, describe, totals)
        if rank() > 0:
            return
    _write_totals(job, totals)
    if config.evaluation.num_threads:
        torch.set_num_threads(config.evaluation.num_threads)
    if not job.evaluates:
        return
    made_by = _model_identity(job, prepared)
    for name, predictions in job.stores.items():
        evaluate(
            model,
            requests,
            config.evaluation,
            lengths,
            predictions,
            show_options=name == "options",
            on_batch=stop_if_orphaned,
            identity=fingerprint([made_by, name]),
        )
    stores = sorted((job.folder / files.PREDICTIONS).glob("*.jsonl"))
    names = [f"{files.PREDICTIONS}/{path.name}" for path in stores]
    record = record_of(job.folder / files.MODEL)
    finish(job.folder, names, prepared.fingerprint, {"model": record["made_from"]} if record else None)


def stop_if_orphaned(_: object) -> None:
    """End without a word when the process that waits for this one is gone: a repeated command would meet its work."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def limits(settings: ModelSettings, max_positions: int) -> Lengths:
    """The recipe's limits, and what the model's positions allow for a prompt and its answer together."""
    if max_positions < 2:
        raise ConfigError("model", f"{max_positions} positions", "room for a prompt and an answer", "Choose another.")
    return Lengths(settings.max_input_tokens, settings.max_target_tokens, max_positions)


def _write_totals(job: Job, totals: dict[str, float]) -> None:
    if rank() == 0:
        files.write_json(job.folder / TOTALS, totals)


def _model_identity(job: Job, prepared: Prepared) -> str:
    """Stands for all that decides the predictions of a job: its model, what it is asked, and how."""
    record = record_of(job.folder / files.MODEL) if job.kind != UNTUNED_JOB else None
    model = record["files"] if record else model_fingerprint(job.config.model.path)
    cards = file_fingerprint({task.path for task in prepared.evaluated})
    settings = job.config.evaluation.deciding()
    return fingerprint([job.kind, model, prepared.fingerprint, cards, job.config.model, settings, job.config.seed])


def _tune(
    job: Job,
    prompts: str,
    model: HuggingFaceModel,
    packs_of: PacksOf,
    num_updates: int,
    on_update: Callable[[object], None],
    describe: Callable[[int], str],
    totals: Mapping[str, float],
) -> None:
    """Train, unless that is done; the tuned model lies in the job's folder and in rank 0's `model` afterwards."""
    config, saved = job.config, job.folder / files.MODEL
    base = model_fingerprint(config.model.path)
    identity = fingerprint([prompts, job.kind, config.train.deciding(), config.model, base, config.seed])
    if is_finished(saved, identity):
        load_weights(model, saved)
        return
    last: deque[UpdateLog] = deque(maxlen=NUM_LAST_UPDATES)

    def after(line: UpdateLog) -> None:
        last.append(line)
        on_update(line)

    train(model, packs_of, num_updates, config.train, job.folder, identity, config.seed, after, describe)
    if rank() == 0:
        save_model(model, saved, asked_with=config.model.model_dump(include={"separator", "chat_template"}))
        log = [{"update": line.update, "loss": line.loss} for line in last]
        facts = {"totals": totals, "log": log, "environment": versions(), "reading": model.reading}
        names = {path.name for path in saved.iterdir() if path.is_file() and not path.name.startswith(".")}
        finish(saved, names - {files.DONE, files.CARD}, identity, facts)
        shutil.rmtree(job.folder / files.CHECKPOINTS, ignore_errors=True)
