"""Making a base model from plain text: tokenizer, random weights, next-token loss on everything."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from pydantic import Field

from openflan import files
from openflan.errors import DataError
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import make_model, save_model, wrap
from openflan.models.settings import ModelShape
from openflan.models.tokenizer import train_tokenizer
from openflan.streams import fingerprint, stream
from openflan.tasks.card import OwnPath, Strict
from openflan.tokens.pack import Pack, pack, plain_segment
from openflan.training.log import UpdateLog
from openflan.training.loop import train
from openflan.training.settings import TrainSettings
from openflan.world.text import documents

UPDATES_PER_BLOCK = 32
FILL = 0.99


class PretrainRecipe(Strict):
    """Everything that decides what the base model becomes."""

    seed: int = 0
    """Of everything that is drawn."""
    shape: ModelShape = ModelShape()
    """Of the model that is made."""
    num_updates: int = Field(ge=1)
    """How long the training goes on."""
    corpus: OwnPath | None = None
    """A UTF-8 file with one paragraph per line, mixed into the text of the world."""
    corpus_share: float = Field(0.0, ge=0, lt=1)
    """The part of the documents that are paragraphs of the corpus."""
    num_easy_updates: int = Field(0, ge=0)
    """The first updates read short scenes: binding a name to its value is learned there."""
    swaps_from_update: int = Field(1 << 30, ge=0)
    """From here on scenes are mostly of two people who could swap what is said of them."""
    tokenizer_documents: int = Field(20_000, ge=100)
    """Documents that the tokenizer is trained on."""
    train: TrainSettings
    """How it is trained."""


def pretrain(recipe: PretrainRecipe, out: Path, on_update: Callable[[UpdateLog], None] = lambda _: None) -> Path:
    """Train a tokenizer and a model as `recipe` says and return the model's folder. Repeating the call continues."""
    files.check_name(out)
    paragraphs = _paragraphs(recipe.corpus)
    text = functools.partial(_text, recipe, paragraphs)
    tokenizer = train_tokenizer(text(0, recipe.tokenizer_documents), recipe.shape.vocab_size - 1)
    assert tokenizer.eos_token_id is not None and tokenizer.pad_token_id is not None
    weights = make_model(recipe.shape, recipe.seed, tokenizer.eos_token_id, tokenizer.pad_token_id)
    model = wrap(weights, tokenizer, out)
    blocks = functools.lru_cache(maxsize=1)(functools.partial(_block, recipe, paragraphs, model))

    def packs_of(update: int) -> Sequence[Pack]:
        block, place = divmod(update, UPDATES_PER_BLOCK)
        size = recipe.train.packs_per_update
        return blocks(block)[place * size : (place + 1) * size]

    settings = {**recipe.model_dump(mode="json"), "train": recipe.train.deciding()}
    identity = fingerprint(["pretrain", settings, model.codec.fingerprint])
    train(model, packs_of, recipe.num_updates, recipe.train, out, identity, recipe.seed, on_update)
    save_model(model, out / files.MODEL, dtype=torch.bfloat16)
    return out / files.MODEL


def _paragraphs(corpus: Path | None) -> list[str]:
    if corpus is None:
        return []
    try:
        with corpus.open(encoding="utf-8") as file:
            kept = [" ".join(line.split()[:120]) for line in file if line.count(" ") >= 20]
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(corpus, str(exc), "a UTF-8 text file with one paragraph per line") from exc
    return kept


def _text(recipe: PretrainRecipe, paragraphs: Sequence[str], first: int, num_documents: int) -> Iterator[str]:
    """Documents of the world with paragraphs of the corpus among them, from the `first` on."""
    level = _level(recipe, first // _DOCUMENTS_PER_BLOCK * UPDATES_PER_BLOCK)
    world = documents(recipe.seed, first, num_documents, level)
    for i, document in enumerate(world, start=first):
        draw = stream(recipe.seed, "corpus", i)
        yield draw.choice(paragraphs) if paragraphs and draw.random() < recipe.corpus_share else document


def _level(recipe: PretrainRecipe, update: int) -> int:
    return 0 if update < recipe.num_easy_updates else 1 if update < recipe.swaps_from_update else 2


_DOCUMENTS_PER_BLOCK = 1 << 20


def _block(recipe: PretrainRecipe, paragraphs: Sequence[str], model: HuggingFaceModel, block: int) -> list[Pack]:
    """The packs of `UPDATES_PER_BLOCK` updates, shuffled; the same whether or not earlier blocks were ever made.

    Documents are drawn until they fill the packs to `FILL`; the few that then do not fit are left out.
    """
    capacity = recipe.train.pack_tokens
    wanted = UPDATES_PER_BLOCK * recipe.train.packs_per_update
    segments = []
    room = int(wanted * capacity * FILL)
    for key, text in enumerate(_text(recipe, paragraphs, block * _DOCUMENTS_PER_BLOCK, _DOCUMENTS_PER_BLOCK)):
        ids = [*model.codec.encode(text), model.codec.eos_id][:capacity]
        room -= len(ids)
        if room < 0:
            break
        segments.append(plain_segment(key, ids, len(ids)))
    packs = pack(segments, capacity)
    stream(recipe.seed, "block", block).shuffle(packs)
    return packs[:wanted]
