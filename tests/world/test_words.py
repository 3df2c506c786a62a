"""The vocabulary of a base: words are single tokens."""

import itertools
import re
from pathlib import Path

from openflan import files
from openflan.models.tokenizer import train_tokenizer
from openflan.tasks.catalog import load_catalog
from openflan.training.pretrain import PretrainRecipe, _Text
from openflan.world.words import WORDS

RECIPE = Path(__file__).parents[2] / "recipes" / "base.yaml"


def test_world_words_and_words_of_instructions_are_single_tokens():
    recipe = files.parse(PretrainRecipe, files.read_yaml(RECIPE), RECIPE)
    tokenizer = train_tokenizer(itertools.chain(_Text(recipe).sample(), [" ".join(WORDS)] * 20), 2047)
    encode = tokenizer.backend_tokenizer.encode
    assert len(WORDS) > 800
    assert {"Anna", "harbor", "kapo", "passage", "yes", "Yes", "OPTIONS"} <= set(WORDS)
    assert [word for word in WORDS if len(encode(word, add_special_tokens=False).ids) != 1] == []
    asked = [
        word
        for task in load_catalog().tasks.values()
        if task.collection == "world"
        for template in task.templates
        for word in re.findall(r"[A-Za-z]+", re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", template.input))
    ]
    assert len(asked) > 1000
    whole = sum(len(encode(word, add_special_tokens=False).ids) == 1 for word in asked)
    assert whole / len(asked) > 0.97
