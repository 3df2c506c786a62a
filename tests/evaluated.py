"""A model of two layers, two small cards and their rows, written to disk: what `openflan eval` needs, in a second."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toys import toy_config, toy_tokenizer, toy_weights

MOODS = (
    "a fine day",
    "the rain again",
    "cake and songs",
    "no bus came",
    "we won",
    "all is lost",
    "such luck",
    "a cold",
)
MOOD = {
    "family": "mood",
    "cluster": "sentiment",
    "source": {"splits": {"train": "train", "dev": "dev", "test": "test"}},
    "fields": {"text": "text"},
    "answer": {"kind": "choice", "options": ["dull", "good"], "gold": "label"},
    "metrics": ["accuracy"],
    "licence": "CC0-1.0",
    "samples": [{"text": "It rains.", "label": 0}, {"text": "All is well.", "label": 1}],
    "templates": [
        {"id": "after", "input": "{{ text }} Which mood?\n\n{{ options_block }}"},
        {"id": "before", "input": "Which mood is it? {{ text }}"},
    ],
    "completion": {"input": "{{ text }} So the mood is"},
}
NAME = {
    **MOOD,
    "family": "name",
    "cluster": "closed_book_qa",
    "answer": {"kind": "text", "references": "names"},
    "metrics": ["exact_match"],
    "max_new_tokens": 6,
    "samples": [{"text": "Who ran?", "names": "Tom"}],
    "templates": [{"id": "who", "input": "{{ text }} Who was it?"}, {"id": "say", "input": "Say who: {{ text }}"}],
}
del NAME["completion"]


@dataclass(frozen=True)
class Place:
    """Where model, cards and rows lie. `arguments`: those that every evaluation of them needs."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "toy"

    @property
    def arguments(self) -> list[object]:
        return ["--catalog", self.folder / "cards", "--data-root", self.folder / "data", "--max-target-tokens", 32]

    def rows(self, task: str, split: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path(task, split).read_text().splitlines()]

    def write(self, task: str, split: str, rows: list[dict[str, Any]]) -> None:
        self._path(task, split).parent.mkdir(parents=True, exist_ok=True)
        self._path(task, split).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write_card(self, task: str, card: dict[str, Any]) -> None:
        (self.folder / "cards").mkdir(exist_ok=True)
        (self.folder / "cards" / f"{task}.yaml").write_text(yaml.safe_dump(card))

    def write_model(self, name: str = "toy", seed: int = 0) -> Path:
        config = toy_config("llama")
        config.max_position_embeddings = 512
        toy_weights(config, seed=seed).save_pretrained(self.folder / name)
        toy_tokenizer().save_pretrained(self.folder / name)
        return self.folder / name

    def _path(self, task: str, split: str) -> Path:
        return self.folder / "data" / task / f"{split}.jsonl"


def make_place(folder: Path) -> Place:
    """`mood` has 8 rows in train and test and 6 in dev, `name` as many; two wordings each."""
    place = Place(folder)
    place.write_model()
    place.write_card("mood", MOOD)
    place.write_card("name", NAME)
    for split, num in (("train", 8), ("dev", 6), ("test", 8)):
        texts = [f"{text} in {split}." for text in MOODS[:num]]
        place.write("mood", split, [{"text": text, "label": n % 2} for n, text in enumerate(texts)])
        place.write("name", split, [{"text": text, "names": ["Tom", "Tim"]} for text in texts])
    return place
