"""A plan as a store of token ids: what decides which store it is, and what is counted."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from openflan.config import RunConfig, load_recipe
from openflan.errors import ConfigError
from openflan.mixture.plan import PlanRow
from openflan.mixture.pool import content_fingerprint, content_number
from openflan.models.tokenizer import codec_of, train_tokenizer
from openflan.streams import fingerprint
from openflan.study import encode
from openflan.study.encode import COUNTS, encode_plan, pack_store
from openflan.tasks.catalog import Task
from openflan.tasks.example import Choice, Example
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Fitted, Lengths, fit, training_ids
from openflan.tokens.store import TokenStore
from toys import TEXTS, choice_example, toy_task, toy_tokenizer

CODEC = codec_of(toy_tokenizer(), Path("toy"))
LENGTHS = Lengths(110, 12)
LONG = " ".join(f"word{n}" for n in range(60))


@dataclass(frozen=True)
class SomeRows:
    """As much of a plan and of what was prepared as encoding needs."""

    trained: list[Task]
    rows: tuple[PlanRow, ...]
    examples: dict[str, list[Example]]

    @property
    def plan(self) -> "SomeRows":
        return self

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.rows])

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple({row.task: "" for row in self.rows})

    @property
    def data(self) -> dict[str, str]:
        return {f"{name}/train": content_fingerprint(map(content_number, self.examples[name])) for name in self.tasks}

    def of_task(self, name: str) -> Iterator[tuple[int, PlanRow]]:
        return ((place, row) for place, row in enumerate(self.rows) if row.task == name)

    def examples_of(self, task: str, shuffled: bool = False) -> dict[str, Example]:
        found = self.examples[task]
        return {e.uid: replace(e, answer=Choice(e.answer.options, 1)) if shuffled else e for e in found}


def prepared() -> SomeRows:
    tasks = [toy_task("mood"), toy_task("taste")]
    texts = ("The cat sat on the mat.", LONG, "A dog ran.", "Tom likes it.")
    rows = {
        task.name: [choice_example(n, text, ("Yes", "No"), 0, task.name) for n, text in enumerate(texts)]
        for task in tasks
    }
    rows["taste"][3] = choice_example(3, "Fine?", ("Yes", LONG), 0, "taste")
    plan = [
        PlanRow(f"{name}/test/{n}", name, template)
        for n in range(4)
        for name in ("taste", "mood")
        for template in ("after", "before")
    ]
    plan.append(PlanRow("mood/test/0", "mood", "after", ("mood/test/2", "mood/test/3")))
    plan.append(PlanRow("mood/test/1", "mood", "invent"))
    return SomeRows(tasks, tuple(plan), rows)


def config(*changes: str) -> RunConfig:
    return load_recipe(Path("demo"), changes)


def encoded(cache: Path, rows: SomeRows | None = None, codec: Codec = CODEC, **changes: Any) -> TokenStore:
    settings = {"config": config(), "lengths": LENGTHS, "shuffled": False} | changes
    return encode_plan(rows or prepared(), codec=codec, cache=cache, **settings)


def test_every_row_of_the_plan_is_kept_in_place_or_counted(tmp_path):
    rows = prepared()
    store = encoded(tmp_path, rows)
    tasks = {task.name: task for task in rows.trained}
    kept = dict(zip(store.place.tolist(), range(len(store)), strict=True))
    for place, row in enumerate(rows.rows):
        examples = rows.examples_of(row.task)
        template = next(t for t in tasks[row.task].templates if t.id == row.template)
        exemplars = [examples[uid] for uid in row.exemplars]
        fitted = fit(examples[row.uid], tasks[row.task], template, CODEC, LENGTHS, exemplars=exemplars)
        assert isinstance(fitted, Fitted) == (place in kept)
        if isinstance(fitted, Fitted):
            ids, num_supervised = training_ids(fitted, CODEC)
            segment = store.segment(kept[place])
            assert (segment.key, segment.ids, sum(segment.supervised)) == (kept[place], ids, num_supervised)
            assert store.tasks[store.task[kept[place]]] == row.task
    assert len(kept) == 15


def test_what_is_dropped_and_cut_is_counted_by_task_and_reason(tmp_path):
    counts = encoded(tmp_path).counts_by_task
    assert {name: {key: counts[name][key] for key in COUNTS} for name in counts} == {
        "mood": {
            "num_dropped_too_long_prompt": 0,
            "num_dropped_too_long_target": 1,
            "num_with_cut_field": 2,
            "num_cut_words": counts["mood"]["num_cut_words"],
            "num_exemplars_dropped": 1,
        },
        "taste": {
            "num_dropped_too_long_prompt": 1,
            "num_dropped_too_long_target": 1,
            "num_with_cut_field": 2,
            "num_cut_words": counts["taste"]["num_cut_words"],
            "num_exemplars_dropped": 0,
        },
    }
    assert [counts[name]["num_examples"] for name in ("mood", "taste")] == [9, 6]


def test_the_same_plan_meets_its_store_again(tmp_path, monkeypatch):
    first = encoded(tmp_path)
    monkeypatch.setattr(SomeRows, "examples_of", None)  # nothing is read or encoded again
    again = encoded(tmp_path, config=config("train.pack_tokens=64", "seed=3"))  # packing is not among what decides
    assert again.path == first.path and again.counts == first.counts


def other_text(rows: SomeRows) -> SomeRows:
    first, *rest = rows.examples["mood"]
    return replace(rows, examples=rows.examples | {"mood": [replace(first, fields={"text": "The cat sat."}), *rest]})


def other_option(rows: SomeRows) -> SomeRows:
    first, *rest = rows.examples["mood"]
    changed = replace(first, answer=Choice(("Yes", "Never"), 0))
    return replace(rows, examples=rows.examples | {"mood": [changed, *rest]})


def other_wording(rows: SomeRows) -> SomeRows:
    mood, taste = rows.trained
    after, *rest = mood.templates
    card = mood.card.model_copy(update={"templates": (after.model_copy(update={"input": "{{ text }}?"}), *rest)})
    return replace(rows, trained=[replace(mood, card=card), taste])


def other_exemplar(rows: SomeRows) -> SomeRows:
    *first, few_shot, last = rows.rows
    return replace(rows, rows=(*first, replace(few_shot, exemplars=few_shot.exemplars[:1]), last))


@pytest.mark.parametrize("change", [other_text, other_option, other_wording, other_exemplar])
def test_another_row_wording_or_exemplar_is_another_store(tmp_path, change: Callable[[SomeRows], SomeRows]):
    rows = prepared()
    assert encoded(tmp_path, change(rows)).path != encoded(tmp_path, rows).path


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": Lengths(99, 12)},
        {"lengths": Lengths(110, 11)},
        {"shuffled": True},
        {"config": config("mixture.labels=shuffled")},
        {"config": config("mixture.style=no_template")},
        {"codec": codec_of(toy_tokenizer(), Path("toy"), " ")},
        {"codec": codec_of(train_tokenizer(TEXTS * 3, 318), Path("toy"))},
    ],
)
def test_another_limit_label_style_or_tokenizer_is_another_store(tmp_path, changes):
    assert encoded(tmp_path, **changes).path != encoded(tmp_path).path


def test_shuffled_by_the_recipe_or_by_the_job_is_the_same(tmp_path):
    assert encoded(tmp_path, config=config("mixture.labels=shuffled")).path == encoded(tmp_path, shuffled=True).path


def test_other_code_is_another_store(tmp_path, monkeypatch):
    first = encoded(tmp_path)
    monkeypatch.setattr(encode, "code_fingerprint", lambda: "other")
    assert encoded(tmp_path).path != first.path


def test_a_tokenizer_that_was_used_before_finds_the_same_store(tmp_path):
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer(["The cat", "A"], padding="max_length", truncation=True, max_length=5)
    codec = codec_of(tokenizer, Path("toy"))
    tokenizer(["The cat", "A"], padding="max_length", truncation=True, max_length=5)
    assert encoded(tmp_path, codec=codec).path == encoded(tmp_path).path


IN_A_PROCESS = """
import sys
from pathlib import Path
from types import SimpleNamespace
from openflan.config import load_recipe
from openflan.mixture.plan import PlanRow
from openflan.study.encode import encode_plan
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import load_catalog
from openflan.tokens.codec import Codec
from openflan.tokens.encode import Lengths

task = load_catalog().task("rte")
examples = {e.uid: e for e in load_examples(task, "samples")[0]}
rows = [(i, PlanRow(uid, "rte", task.templates[0].id)) for i, uid in enumerate(examples)]
plan = SimpleNamespace(fingerprint="plan", of_task=lambda name: iter(rows), tasks=("rte",))
prepared = SimpleNamespace(trained=[task], plan=plan, data={"rte/train": "rows"}, examples_of=lambda *_: examples)
encode = lambda text: [len(word) for word in text.split()]
many = lambda texts: list(map(encode, texts))
codec = Codec(encode, many, many, str, (), (5,), (1,), 1, (1,), 99, "words")
chunks = []
store = encode_plan(prepared, load_recipe(Path("demo")), codec, Lengths(), False, Path(sys.argv[1]), chunks.append)
print(len(chunks), len(store) == len(rows), store.path)
"""


def test_a_new_process_finds_the_same_store(tmp_path):
    printed = []
    for seed in ("1", "2"):
        command, environment = [sys.executable, "-c", IN_A_PROCESS, str(tmp_path)], {"PYTHONHASHSEED": seed}
        result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
        printed.append(result.stdout.split())
    (first, first_whole, path), (second, second_whole, again) = printed
    assert (first, second, first_whole, second_whole) == ("1", "0", "True", "True")
    assert path == again and Path(path).is_file()


def test_chunks_do_not_show_in_what_is_stored(tmp_path, monkeypatch):
    whole = encoded(tmp_path / "whole")
    monkeypatch.setattr(encode, "ROWS_PER_CHUNK", 3)
    seen: list[int] = []
    parts = encode_plan(prepared(), config(), CODEC, LENGTHS, False, tmp_path / "parts", seen.append)
    assert seen == [3, 3, 3, 1, 3, 3, 2]
    assert [parts.segment(i) for i in range(len(parts))] == [whole.segment(i) for i in range(len(whole))]
    assert parts.counts_by_task == whole.counts_by_task


def test_packs_and_all_counts(tmp_path):
    store = encoded(tmp_path)
    capacity = int(store.lengths.max()) - 1
    packs, counts = pack_store(store, capacity)
    fitting = store.lengths <= capacity
    assert counts["num_dropped_longer_than_pack"] == packs.num_too_long == (~fitting).sum() > 0
    assert counts["num_packs"] == len(packs)
    assert counts["real_share"] == round(store.lengths[fitting].sum() / (len(packs) * capacity), 4)
    assert {*COUNTS, "num_examples", "num_tokens", "num_supervised", "num_damaged_stores"} <= counts.keys()


def test_packs_into_which_nothing_fits_are_told(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train\.pack_tokens: found none of 18 prompts within the limits and 8 tokens"
    ):
        pack_store(encoded(tmp_path), 8)
