"""A card and rows from a task of Natural Instructions: its definition is the prompt, its instances are the rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openflan import files
from openflan.errors import DataError
from openflan.interop.new_card import NO_LICENCE, Draft, Imported, Note, finish_card, slug, write_cards
from openflan.interop.translate import Columns, NotCarried, plain_text
from openflan.tasks.catalog import Catalog
from openflan.tasks.same_data import DataNames
from openflan.tasks.scaffold import MAX_LABELS

TEMPLATE = "definition"
ROWS = "data"  # the folder of rows, beside the card
_TEST_ROWS = 500
_MIN_ROWS_PER_LABEL = 5
_SHORT_ANSWER_WORDS = 5


def import_natural_instructions(
    path: Path, folder: Path, catalog: Catalog, *, cluster: str, name: str | None = None
) -> Imported:
    """Write the card to `folder` and the instances to `folder/data/<name>.jsonl`, and tell what was left behind.

    Outputs of a few distinct texts are taken for labels, any others for free text. The task's own positive examples are
    the card's samples. DataError for a file that is no such task.
    """
    value = files.read_json(path, DataError, "")
    if not isinstance(value, dict) or not value.get("Definition") or not isinstance(value.get("Instances"), list):
        found = f"the keys {', '.join(value)}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise DataError(path, found, "`Definition` and `Instances`, as in Natural Instructions")
    name = name or slug(path.stem)
    rows = [_row(each, f"{path}, instance {i + 1}") for i, each in enumerate(value["Instances"])]
    examples = [_row(each, f"{path}, example") for each in _list(value, "Positive Examples")]
    full = [row for row in rows if row["input"] and row["output"]]
    notes = (
        [Note("Negative Examples", "left out", "no place for them in a card")] if value.get("Negative Examples") else []
    )
    if len(full) < len(rows):
        notes.append(Note("Instances", "left out", f"{len(rows) - len(full)} of {len(rows)} without input or output"))
    if not full:
        raise DataError(path, "no instance with input and output", "at least one")
    definition = value["Definition"]
    texts = definition if isinstance(definition, list) else [definition]
    labels = _labels(full)
    sources = [slug(str(source)) for source in _list(value, "Source")]
    keys: dict[str, Any] = {
        "family": _family(catalog, sources) or name,
        "cluster": cluster,
        "source": {"splits": {"train": "train", "test": _TEST_ROWS}},
        "derived_from": [source for source in sources if source != name],
        "licence": ", ".join(map(str, _list(value, "Instance License"))) or NO_LICENCE,
    }
    if labels:
        keys |= {"answer": {"kind": "choice", "options": labels, "gold": "output", "gold_values": labels}}
        keys["metrics"] = ["accuracy"]
        examples = [{**row, "output": row["output"][0]} for row in examples if row["output"][0] in labels]
        full = [{**row, "output": row["output"][0]} for row in full]
        samples = [next(row for row in (*examples, *full) if row["output"] == label) for label in labels]
    else:
        keys |= {"answer": {"kind": "text", "references": "output"}}
        words = sum(len(row["output"][0].split()) for row in full) / len(full)
        keys["metrics"] = ["exact_match" if words <= _SHORT_ANSWER_WORDS else "rougeL"]
        samples = [row for row in (*examples, *full) if row["input"]][:2]
    try:
        prompt = plain_text("\n".join(map(str, texts))) + "\n\n{{ input }}"
        columns = Columns({"input": "input"})
        template = {"id": TEMPLATE, "input": prompt}
        draft = Draft(name, keys, columns, (template,), f"{path.name} (Natural Instructions)", tuple(samples))
        card = finish_card(draft, folder, catalog)
    except NotCarried as exc:
        return Imported((), (*notes, Note(TEMPLATE, "left out", str(exc))))
    files.write_jsonl(folder / ROWS / f"{name}.jsonl", full)
    kind = f"labels: {', '.join(labels)}" if labels else "free text"
    if TEMPLATE in card.with_options:
        notes.append(Note(TEMPLATE, "changed", f"{kind}; options listed"))
    else:
        notes.append(Note(TEMPLATE, "carried over", kind))
    return Imported(write_cards([card]), (*notes, *card.notes))


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    """What a key lists; a text alone is a list of one, and anything else none."""
    found = value.get(key)
    return found if isinstance(found, list) else [found] if isinstance(found, str) else []


def _row(value: Any, where: str) -> dict[str, Any]:
    """Input and outputs of one instance, stripped; outputs is a list of distinct texts, empty ones left out."""
    if not isinstance(value, Mapping) or "input" not in value or "output" not in value:
        raise DataError(where, json.dumps(value, ensure_ascii=False)[:80], "an object with `input` and `output`")
    outputs = value["output"] if isinstance(value["output"], list) else [value["output"]]
    texts = [str(output).strip() for output in outputs]
    return {"input": str(value["input"]).strip(), "output": list(dict.fromkeys(text for text in texts if text))}


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The outputs, when they are a few texts that come again and again; none otherwise."""
    if any(len(row["output"]) != 1 for row in rows):
        return []
    counts = Counter(row["output"][0] for row in rows)
    few = 2 <= len(counts) <= min(MAX_LABELS, len(rows) // _MIN_ROWS_PER_LABEL)
    alike = len({" ".join(label.split()).casefold() for label in counts}) < len(counts)
    return sorted(counts) if few and not alike and not any("\n" in label for label in counts) else []


def _family(catalog: Catalog, sources: Sequence[str]) -> str | None:
    """The family of the catalogue's task that the rows come from, so that both are held out together."""
    names = DataNames(catalog.tasks.values())
    return next((min(found) for source in sources if (found := names.families(source))), None)
