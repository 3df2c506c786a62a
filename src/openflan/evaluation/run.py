"""Evaluating one model on tasks: all templates, predictions stored as they come; what was interrupted goes on.

Work is planned a chunk at a time: some examples of one task in one wording. So memory does not grow with the number of
prompts, and the batches are the same however often the evaluation was interrupted and however many processes share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from openflan import files
from openflan.errors import ModelError, RunError
from openflan.evaluation.choose import OptionBatch, OptionPrompt, pack_options, score_options
from openflan.evaluation.predictions import Prediction, file_of_rank, line_of, read_predictions
from openflan.evaluation.requests import Request, group_of, limits_of_prompts, max_new_tokens, unit_of
from openflan.evaluation.settings import EvalSettings
from openflan.models.lm import LanguageModel
from openflan.tasks.example import Choice
from openflan.tokens.encode import Asked, Fitted, Lengths, Misfit, fit_many

EXAMPLES_PER_CHUNK = 2048

OnPredictions = Callable[[Sequence[Prediction]], None]


@dataclass(frozen=True, slots=True)
class Part:
    """What one of several processes does: every `num_processes`-th batch. `wait` returns when all have done theirs."""

    rank: int = 0
    num_processes: int = 1
    wait: Callable[[], None] = lambda: None


def evaluate(
    model: LanguageModel,
    requests: Sequence[Request],
    settings: EvalSettings,
    lengths: Lengths,
    store: Path,
    show_options: bool = True,
    on_batch: OnPredictions = lambda _: None,
    part: Part | None = None,
    identity: str = "",
) -> list[Prediction]:
    """Predictions for all requests, appended to `store` batch by batch; those that lie there are not made again.

    A prompt that cannot be fitted into the limits becomes an unscored prediction. ModelError, naming the row, for a
    log-prob that is not finite; RunError for a store whose lines were changed, or made for another `identity`, which
    stands for all that decides the predictions. `on_batch` is told the predictions of each batch, old ones included.
    Of several processes each appends to a file of its own, and the first returns the predictions of all; the others
    none.
    """
    part = part or Part()
    own = file_of_rank(store, part.rank)
    if own.is_file():
        files.cut_half_line(own)
    done = {p.key: p for p in read_predictions(store, identity)}

    def finish(batch: Sequence[Request], make: Callable[[], Sequence[Prediction]]) -> None:
        keys = [request.key for request in batch]
        if not all(key in done for key in keys):
            made = {p.key: p for p in make() if p.key not in done}
            files.append_jsonl(own, [line_of(p, identity) for p in made.values()])
            done.update(made)
        on_batch([done[key] for key in keys])

    for number, chunk in enumerate(_chunks(requests)):
        if all(requests[n].key in done for n in chunk.numbers):
            on_batch([done[requests[n].key] for n in chunk.numbers])
            continue
        work = _Work(model, requests, settings, lengths, show_options, chunk)
        for place, (numbers, make) in enumerate(work.batches()):
            if (number + place) % part.num_processes == part.rank:
                finish([requests[n] for n in numbers], make)
    part.wait()
    if part.rank:
        return []
    if part.num_processes > 1:
        done = {p.key: p for p in read_predictions(store, identity)}
    missing = sum(request.key not in done for request in requests)
    if missing:
        found = f"{missing} of {len(requests)} predictions missing"
        raise RunError(store, found, "those of all processes", "Repeat the command: it continues.")
    return [done[request.key] for request in requests]


@dataclass(slots=True)
class _Chunk:
    """Requests, by number, of one task in one wording. `siblings`: the same examples in any wording."""

    numbers: list[int]
    siblings: list[int]
    priors: dict[str, float]  # of the siblings' options, once they are known


def _chunks(requests: Sequence[Request]) -> Iterator[_Chunk]:
    by_task: dict[str, dict[str, dict[str, int]]] = {}
    for number, request in enumerate(requests):
        by_uid = by_task.setdefault(request.task.name, {})
        by_uid.setdefault(request.example.uid, {})[request.template.id] = number
    for by_uid in by_task.values():
        rows = list(by_uid.values())
        for start in range(0, len(rows), EXAMPLES_PER_CHUNK):
            some = rows[start : start + EXAMPLES_PER_CHUNK]
            priors: dict[str, float] = {}
            siblings = [number for row in some for number in row.values()]
            for template in dict.fromkeys(name for row in some for name in row):
                yield _Chunk([row[template] for row in some if template in row], siblings, priors)


class _Work:
    """The batches of one chunk, each with what makes its predictions."""

    def __init__(
        self,
        model: LanguageModel,
        requests: Sequence[Request],
        settings: EvalSettings,
        lengths: Lengths,
        show_options: bool,
        chunk: _Chunk,
    ) -> None:
        self.model, self.requests, self.settings, self.chunk = model, requests, settings, chunk
        task = requests[chunk.numbers[0]].task
        asked = [Asked(r.example, r.template, r.exemplars) for r in map(requests.__getitem__, chunk.numbers)]
        fitted = fit_many(asked, task, model.codec, limits_of_prompts(task, lengths), show_options=show_options)
        self.fitted = dict(zip(chunk.numbers, fitted, strict=True))
        self.max_new_tokens = max_new_tokens(task, lengths)
        self.stop = task.card.stop

    def batches(self) -> Iterator[tuple[list[int], Callable[[], list[Prediction]]]]:
        """First what fits no limit, then choices, then free text, the shortest prompts first."""
        misfits = {n: found for n, found in self.fitted.items() if not isinstance(found, Fitted)}
        if misfits:
            yield list(misfits), lambda: [_unscored(self.requests[n], reason) for n, reason in misfits.items()]
        fitting = {n: found for n, found in self.fitted.items() if isinstance(found, Fitted)}
        choices = {n: self._option_prompt(f) for n, f in fitting.items() if f.prompt.options}
        for batch in pack_options(choices, self.settings.pack_tokens, self.settings.packs_per_batch):
            yield batch.requests, partial(self._choose, batch, fitting, choices)
        texts = sorted((n for n in fitting if n not in choices), key=lambda n: (len(fitting[n].input_ids), n))
        for start in range(0, len(texts), self.settings.texts_per_batch):
            numbers = texts[start : start + self.settings.texts_per_batch]
            yield numbers, partial(self._write, numbers, fitting)

    def _option_prompt(self, fitted: Fitted) -> OptionPrompt:
        return OptionPrompt(fitted.input_ids, [self.model.codec.target_ids(option) for option in fitted.prompt.options])

    def _choose(
        self, batch: OptionBatch, fitted: Mapping[int, Fitted], prompts: Mapping[int, OptionPrompt]
    ) -> list[Prediction]:
        priors = self._priors() if self.settings.priors else {}
        predictions = []
        for number, logprobs in score_options(self.model, batch).items():
            request, found = self.requests[number], fitted[number]
            options = found.prompt.options
            _check_finite(request, options, logprobs)
            predictions.append(
                Prediction(
                    uid=request.example.uid,
                    task=request.task.name,
                    template=request.template.id,
                    gold=found.prompt.gold,
                    logprobs=logprobs,
                    num_tokens=tuple(map(len, prompts[number].options)),
                    num_bytes=tuple(len(option.encode()) for option in options),
                    text=None,
                    references=(),
                    prior_logprobs=tuple(priors[option] for option in options) if priors else (),
                    group=group_of(request.task, request.example),
                    unit=unit_of(request.task, request.example),
                    num_exemplars=found.num_exemplars,
                    num_cut_words=found.cut_words,
                )
            )
        return predictions

    def _priors(self) -> dict[str, float]:
        """How likely each option of the chunk's examples is after an empty prompt, each different one scored once."""
        known = self.chunk.priors
        if not known:
            answers = [self.requests[n].example.answer for n in self.chunk.siblings]
            options = list(dict.fromkeys(text for a in answers if isinstance(a, Choice) for text in a.options))
            codec = self.model.codec
            empty = (*codec.before, *codec.between) or (codec.eos_id,)
            prompts = {i: OptionPrompt(empty, [codec.target_ids(text)]) for i, text in enumerate(options)}
            size = self.settings.packs_per_batch
            for batch in pack_options(prompts, self.settings.pack_tokens, size):
                known.update({options[i]: value for i, (value,) in score_options(self.model, batch).items()})
        return known

    def _write(self, numbers: Sequence[int], fitted: Mapping[int, Fitted]) -> list[Prediction]:
        codec, limit = self.model.codec, self.max_new_tokens
        answers = self.model.generate([fitted[n].input_ids for n in numbers], limit, self.stop)
        predictions = []
        for number, ids in zip(numbers, answers, strict=True):
            request, found = self.requests[number], fitted[number]
            text = codec.decode(ids)
            ends = [place for stop in self.stop if (place := text.find(stop)) >= 0]
            predictions.append(
                Prediction(
                    uid=request.example.uid,
                    task=request.task.name,
                    template=request.template.id,
                    gold=None,
                    logprobs=(),
                    num_tokens=(),
                    num_bytes=(),
                    text=text[: min(ends, default=len(text))].strip(),
                    references=found.prompt.references,
                    group=group_of(request.task, request.example),
                    unit=unit_of(request.task, request.example),
                    num_exemplars=found.num_exemplars,
                    num_cut_words=found.cut_words,
                    at_limit=len(ids) >= limit and not ends,
                )
            )
        return predictions


def _unscored(request: Request, reason: Misfit) -> Prediction:
    task, uid, template = request.key
    return Prediction(uid, task, template, None, (), (), (), None, (), unscored=reason)


def _check_finite(request: Request, options: Sequence[str], logprobs: Sequence[float]) -> None:
    for option, value in zip(options, logprobs, strict=True):
        if not math.isfinite(value):
            where = f"{request.example.uid}, template {request.template.id}"
            do = "Look for a dtype that overflows, or for weights that are not finite."
            raise ModelError(where, f"log-prob {value} for option {option!r}", "a finite number", do)
