"""Making a base model from plain text: tokenizer, first weights, and next-token loss, mostly on answers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator

from openflan import files
from openflan.errors import DataError
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import save_model, wrap
from openflan.models.make import make_model
from openflan.models.settings import ModelShape
from openflan.models.tokenizer import train_tokenizer
from openflan.streams import fingerprint, stream
from openflan.tasks.card import OwnPath, Strict
from openflan.tokens.pack import Pack, Segment, pack
from openflan.training.log import UpdateLog
from openflan.training.loop import train
from openflan.training.probes import probe
from openflan.training.settings import TrainSettings
from openflan.world.practice import without_marks
from openflan.world.probes import draw_probes
from openflan.world.text import KINDS, documents
from openflan.world.words import WORDS

UPDATES_PER_BLOCK = 32
FILL = 0.99
NUM_PROBES = 75  # of each skill
PROBES = "probes.jsonl"
MAKING = "making.json"


class Stage(Strict):
    """What is read for a while."""

    num_updates: int = Field(ge=1)
    """How long."""
    text: dict[str, float]
    """How often each kind of text comes, by name (`openflan/world/text.py`)."""
    other_tokens: float = Field(1.0, ge=0, le=1)
    """In texts with answers: the share of tokens outside of answers that are predicted, too."""

    @field_validator("text")
    @classmethod
    def _known(cls, text: dict[str, float]) -> dict[str, float]:
        for kind, share in text.items():
            if kind not in KINDS:
                raise ValueError(f"no kind of text is called {kind}: expected some of {', '.join(KINDS)}")
            if not share > 0:
                raise ValueError(f"the share of {kind} is {share}, expected a number above 0")
        return text


class PretrainRecipe(Strict):
    """Everything that decides what the base model becomes."""

    seed: int = 0
    """Of everything that is drawn."""
    shape: ModelShape = ModelShape()
    """Of the model that is made."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """What is read, one after the other; one training, with one schedule, goes through all of them."""
    updates_among_labels: int = Field(0, ge=0)
    """In the first so many updates the softmax is over the tokens that an update predicts, then over the whole
    vocabulary: with few words to choose from, what is looked up is learned much sooner."""
    corpus: OwnPath | None = None
    """A UTF-8 file with one paragraph per line, mixed into the last stage."""
    corpus_share: float = Field(0.0, ge=0, lt=1)
    """The part of the last stage's documents that are paragraphs of the corpus."""
    tokenizer_documents: int = Field(6_000, ge=100)
    """Documents of the last stage that the tokenizer is trained on, beside the words that each are to be one token."""
    updates_per_probe: int = Field(100, ge=1)
    """How often it is asked what the model knows."""
    train: TrainSettings
    """How it is trained."""

    @model_validator(mode="after")
    def _corpus_with_share(self) -> PretrainRecipe:
        if (self.corpus is not None) != (self.corpus_share > 0):
            raise ValueError("corpus and corpus_share go together: a file, and the part of the documents that it gives")
        return self

    @property
    def num_updates(self) -> int:
        """Of all stages."""
        return sum(stage.num_updates for stage in self.stages)


def pretrain(recipe: PretrainRecipe, out: Path, on_update: Callable[[UpdateLog], None] = lambda _: None) -> Path:
    """Train a tokenizer and a model as `recipe` says and return the model's folder. Repeating the call continues.

    Beside the weights the folder has `making.json`: the recipe, tokens, seconds, and the curves of loss and probes.
    """
    files.check_name(out)
    text = _Text(recipe)
    tokenizer = train_tokenizer(itertools.chain(text.sample(), [" ".join(WORDS)] * 20), recipe.shape.vocab_size - 1)
    assert tokenizer.eos_token_id is not None and tokenizer.pad_token_id is not None
    shape = recipe.shape.model_copy(update={"vocab_size": len(tokenizer)})
    weights = make_model(shape, recipe.seed, tokenizer.eos_token_id, tokenizer.pad_token_id)
    model = wrap(weights, tokenizer, out)
    probes = draw_probes(recipe.seed, NUM_PROBES)
    blocks = functools.lru_cache(maxsize=1)(functools.partial(text.block, model))

    def packs_of(update: int) -> Sequence[Pack]:
        stage, block, place = text.place(update)
        size = recipe.train.packs_per_update
        return blocks(stage, block)[place * size : (place + 1) * size]

    def look(line: UpdateLog) -> None:
        if (line.update + 1) % recipe.updates_per_probe == 0 or line.update + 1 == recipe.num_updates:
            known = [row for row in _rows(out / PROBES) if row["update"] <= line.update]
            shares = probe(model, probes)
            model.model.train()
            files.write_jsonl(out / PROBES, [*known, {"update": line.update + 1, **shares}])
        on_update(line)

    settings = {**recipe.model_dump(mode="json"), "train": recipe.train.deciding()}
    identity = fingerprint(["pretrain", settings, model.codec.fingerprint])
    train(
        model,
        packs_of,
        recipe.num_updates,
        recipe.train,
        out,
        identity,
        recipe.seed,
        look,
        among_labels=lambda update: update < recipe.updates_among_labels,
    )
    save_model(model, out / files.MODEL, dtype=torch.bfloat16)
    files.write_json(out / files.MODEL / MAKING, _making(recipe, out))
    return out / files.MODEL


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(files.read_jsonl(path)) if path.exists() else []


def _making(recipe: PretrainRecipe, out: Path) -> dict[str, Any]:
    """How the model was made. Losses are means of 50 updates, by the last one's number; seconds add up the updates."""
    log = _rows(out / files.TRAIN_LOG)
    parts = [log[i : i + 50] for i in range(0, len(log), 50)]
    return {
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
        "num_tokens": sum(row["num_tokens"] for row in log),
        "seconds": round(sum(row["seconds"] for row in log)),
        "losses": [[part[-1]["update"] + 1, round(sum(row["loss"] for row in part) / len(part), 4)] for part in parts],
        "probes": _rows(out / PROBES),
    }


class _Text:
    """The documents of a recipe, and the packs that they fill."""

    def __init__(self, recipe: PretrainRecipe) -> None:
        self.recipe = recipe
        self.paragraphs = _paragraphs(recipe.corpus)
        self.begins = list(itertools.accumulate((stage.num_updates for stage in recipe.stages), initial=0))

    def place(self, update: int) -> tuple[int, int, int]:
        """The stage of an update, its block within the stage, and its place within the block."""
        stage = max(i for i, begin in enumerate(self.begins[:-1]) if begin <= update)
        return stage, *divmod(update - self.begins[stage], UPDATES_PER_BLOCK)

    def sample(self) -> Iterator[str]:
        """What the tokenizer is trained on."""
        for text in self.documents(len(self.recipe.stages) - 1, 0, self.recipe.tokenizer_documents):
            yield without_marks(text)[0]

    def documents(self, stage: int, first: int, num_documents: int) -> Iterator[str]:
        """Texts of a stage from the `first` on, with paragraphs of the corpus among the last one's."""
        recipe = self.recipe
        last = stage == len(recipe.stages) - 1
        first += stage << 40
        for i, text in enumerate(documents(recipe.seed, first, num_documents, recipe.stages[stage].text), start=first):
            draw = stream(recipe.seed, "corpus", i)
            mixed = last and self.paragraphs and draw.random() < recipe.corpus_share
            yield draw.choice(self.paragraphs) if mixed else text

    def block(self, model: HuggingFaceModel, stage: int, block: int) -> list[Pack]:
        """The packs of `UPDATES_PER_BLOCK` updates, shuffled; the same whether or not earlier blocks were ever made.

        Documents are drawn until they fill the packs to `FILL`; the few that then do not fit are left out.
        """
        recipe = self.recipe
        capacity = recipe.train.pack_tokens
        wanted = UPDATES_PER_BLOCK * recipe.train.packs_per_update
        segments = []
        room = int(wanted * capacity * FILL)
        first = block * _DOCUMENTS_PER_BLOCK
        for key, text in enumerate(self.documents(stage, first, _DOCUMENTS_PER_BLOCK), start=first):
            segment = _segment(key, text, model, recipe.stages[stage].other_tokens, recipe.seed, capacity)
            room -= len(segment)
            if room < 0:
                break
            segments.append(segment)
        packs = pack(segments, capacity)
        stream(recipe.seed, "block", stage, block).shuffle(packs)
        return packs[:wanted]


_DOCUMENTS_PER_BLOCK = 1 << 20


def _segment(
    key: int, marked_text: str, model: HuggingFaceModel, other_tokens: float, seed: int, capacity: int
) -> Segment:
    """A document that ends with the end-of-text id. Its answers are predicted, and of its other ids a random share; of
    a document without answers all are."""
    text, answers = without_marks(marked_text)
    found = model.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    ids = [*found.ids, model.codec.eos_id]
    draw = stream(seed, "other tokens", key)
    inside = [any(begin < end <= last for begin, last in answers) for _, end in found.offsets]
    share = other_tokens if answers else 1.0
    supervised = [answer or draw.random() < share for answer in (*inside, False)]
    ids, supervised = ids[:capacity], supervised[:capacity]
    return Segment(key, tuple(ids), (0,) * len(ids), tuple(supervised))


def _paragraphs(corpus: Path | None) -> list[str]:
    if corpus is None:
        return []
    try:
        with corpus.open(encoding="utf-8") as file:
            kept = [" ".join(line.split()[:120]) for line in file if line.count(" ") >= 20]
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(corpus, str(exc), "a UTF-8 text file with one paragraph per line") from exc
    return kept
