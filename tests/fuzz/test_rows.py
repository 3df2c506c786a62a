"""Rows of every form that a card reads, and that `openflan tasks new` guesses a card from."""

import csv
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from fuzz.mutate import fuzz, json_files, jsonl_files, mutated, mutated_bytes, only_openflan_errors
from openflan.tasks.adapt import adapt, iter_examples
from openflan.tasks.catalog import load_catalog
from openflan.tasks.origin import open_origin
from openflan.tasks.scaffold import card_text, columns_of, guess
from openflan.untrusted import json_objects, json_value
from toys import toy_task

ROWS = [
    {"text": "Wet", "meta": {"year": 1999}, "answers": {"text": ["rain", "a rain"]}, "choices": ["a", "b"], "label": 1},
    {"text": "Sonne, é", "meta": {"year": 2.5}, "answers": {"text": ["Sonne"]}, "choices": ["c", "d", "e"], "label": 0},
]  # fmt: skip
FIELDS = {"text": "text", "year": "meta.year"}
TEXT = toy_task(kind="text", fields=FIELDS, answer={"kind": "text", "references": "answers.text"}, metrics=["f1"])
CHOICE = toy_task(fields=FIELDS, answer={"kind": "choice", "options_from": ["choices"], "gold": "label"})
FLAT = toy_task(answer={"kind": "choice", "options": ["no", "yes"], "gold": "label"})


def read(folder, name, content, *tasks):
    (folder / "mood").mkdir(exist_ok=True)
    path = folder / "mood" / name
    path.write_bytes(content)
    for task in tasks:
        only_openflan_errors(lambda task=task: list(iter_examples(task, "test", folder)))
    only_openflan_errors(_new_card, path)
    path.unlink()


def _new_card(path):
    origin = open_origin(str(path), "mood")
    card_text("mood", origin.source, guess(origin.rows, columns_of(origin.rows, "rows")), origin.shown, ["sentiment"])


@fuzz(jsonl_files(ROWS))
def test_json_lines(tmp_path, content):
    read(tmp_path, "validation.jsonl", content, TEXT, CHOICE)


@fuzz(json_files(ROWS), st.booleans())
def test_json_lists(tmp_path, content, packed):
    read(
        tmp_path,
        "validation.json.gz" if packed else "validation.json",
        gzip.compress(content) if packed else content,
        TEXT,
    )


def _table(rows, separator):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    for row in rows if isinstance(rows, list) else []:
        writer.writerow([str(cell)[:10_000] for cell in row] if isinstance(row, list) else [str(row)[:10_000]])
    return file.getvalue().encode(errors="surrogatepass")


CELLS = [["text", "label"], ["It rained.", 1], ['He said "no", so\nthere', 0], ["", "yes"]]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
@fuzz(st.one_of(mutated(CELLS).map(lambda rows: rows), mutated_bytes(_table(CELLS, ","))), share=0.5)
def test_tables(tmp_path, suffix, separator, content):
    if not isinstance(content, bytes):
        content = _table(content, separator)
    read(tmp_path, f"validation.{suffix}", content, FLAT)


def _parquet(rows):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


@fuzz(mutated_bytes(_parquet(ROWS)), share=0.5)
def test_damaged_parquet(tmp_path, content):
    read(tmp_path, "validation.parquet", content, TEXT, CHOICE)


@fuzz(mutated(ROWS), share=0.5)
def test_parquet_with_odd_values(tmp_path, rows):
    try:
        content = _parquet(rows)
    except (pa.ArrowException, TypeError, AttributeError, ValueError, OverflowError, LookupError):
        return  # what Arrow cannot write nobody reads
    read(tmp_path, "validation.parquet", content, TEXT, CHOICE)


WITH_FUNCTIONS = [task for task in load_catalog().tasks.values() if task.card.adapt is not None]


@pytest.mark.parametrize("task", WITH_FUNCTIONS, ids=[task.name for task in WITH_FUNCTIONS])
@fuzz(st.data(), share=0.2)
def test_row_functions(task, data):
    rows = data.draw(mutated(list(task.samples)))
    rows = rows if isinstance(rows, list) else [rows]
    for row in rows:
        only_openflan_errors(adapt, task, [row] if isinstance(row, dict) else [], "test")


@fuzz(jsonl_files(ROWS))
def test_one_look_and_one_by_one(content):
    together = json_objects(content.strip(b"\n"))
    assert together is None or repr(together) == repr(
        [json_value(line.decode(), keys_once=True) for line in content.strip(b"\n").split(b"\n")]
    )
