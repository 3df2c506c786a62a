"""Each cause of another prediction changes the directory of an evaluation; what decides nothing does not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluated import Place, make_place
from openflan.evaluation.settings import EvalSettings
from openflan.models.adapters import add_adapter
from openflan.models.folder import model_fingerprint
from openflan.models.load import load_model, save_model
from openflan.models.settings import LoraSettings, ModelSettings
from openflan.models.tokenizer import load_tokenizer, train_tokenizer
from openflan.study import identity
from openflan.study.evaluate import Asking, evaluate_model
from openflan.study.identity import EvaluationIdentity
from toys import TEXTS

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's
PLAIN = EvaluationIdentity("m", "c", {"num_shots": 0}, 0, "r", "a", (480, 32), "s", {"transformers": "5.0"})
OTHER: dict[str, object] = {
    "model": "n",
    "codec": "d",
    "settings": {"num_shots": 1},
    "seed": 1,
    "rows": "q",
    "cards": "b",
    "lengths": (480, 31),
    "code": "t",
    "libraries": {"transformers": "5.1"},
    "scorer": 3,
}


@pytest.mark.parametrize("name", [field.name for field in fields(EvaluationIdentity)])
def test_every_field_is_part_of_the_key(name):
    assert replace(PLAIN, **{name: OTHER[name]}).key != PLAIN.key
    assert replace(PLAIN).key == PLAIN.key and len(PLAIN.key) == 12


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """A model with chat template and generation config; one test row is asked."""
    place = make_place(tmp_path_factory.mktemp("place"))
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
    tokenizer.save_pretrained(place.model)
    return place


@pytest.fixture
def own(place, tmp_path) -> Place:
    shutil.copytree(place.folder, tmp_path / "place")
    return replace(place, folder=tmp_path / "place")


def directory(place: Place, **changes: object) -> str:
    """The name of the directory of an evaluation."""
    given: dict[str, object] = {"path": str(place.model), "max_target_tokens": 32}
    for name in ("path", "max_target_tokens", "max_input_tokens", "chat_template", "separator", "dtype"):
        given |= {name: changes.pop(name)} if name in changes else {}
    asking = Asking(
        ModelSettings(**given),
        EvalSettings(max_examples_per_task=1, **changes.pop("settings", {})),
        place.folder / "out",
        tasks=("mood",),
        cards=(place.folder / "cards",),
        data_root=place.folder / "data",
        **changes,
    )
    return evaluate_model(asking).folder.name


def change(name: str, **values: object) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        path = place.model / name
        before = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(before | values))

    return write


def other_weights(place: Place) -> None:
    tensors = load_file(place.model / "model.safetensors")
    tensors["model.norm.weight"][3] += 1e-3
    save_file(tensors, place.model / "model.safetensors", metadata={"format": "pt"})


def other_template(place: Place) -> None:
    (place.model / "chat_template.jinja").write_text("{% for m in messages %}- {{ m.content }}<|end|>{% endfor %}")


def other_words(place: Place) -> None:
    tokenizer = train_tokenizer(TEXTS * 3, 318)
    tokenizer.chat_template = load_tokenizer(str(place.model)).chat_template
    tokenizer.save_pretrained(place.model)


def other_row(place: Place) -> None:
    rows = [{**row, "text": row["text"] + "!"} for row in place.rows("mood", "test")]
    place.write("mood", "test", rows)


def other_card(place: Place) -> None:
    path = place.folder / "cards" / "mood.yaml"
    path.write_text(path.read_text().replace("Which mood is it?", "What mood is it?"))


CHANGES: dict[str, Callable[[Place], None]] = {
    "weights": other_weights,
    "config": change("config.json", rms_norm_eps=1e-3),
    "tokenizer": other_words,
    "chat template": other_template,
    "end-of-text ids": change("generation_config.json", eos_token_id=[0, 7]),
    "rows": other_row,
    "card": other_card,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_cause_is_another_evaluation(name, own):
    before = directory(own, chat_template=True)
    CHANGES[name](own)
    after = directory(own, chat_template=True)
    assert after != before and after.startswith("toy-")


def test_another_setting_is_another_evaluation(own):
    names = [
        directory(own),
        directory(own, chat_template=True),
        directory(own, separator=" "),
        directory(own, dtype="bfloat16"),
        directory(own, max_input_tokens=100),
        directory(own, max_target_tokens=31),
        directory(own, show_options=False),
        directory(own, seed=1),
        directory(own, settings={"num_shots": 1}),
        directory(own, settings={"priors": True}),
    ]
    assert len(set(names)) == len(names)


def test_an_adapter_is_another_evaluation_and_follows_its_base(own):
    tuned = load_model(ModelSettings(path=str(own.model)))
    add_adapter(tuned, LoraSettings(rank=2), seed=0)
    save_model(tuned, own.folder / "adapter")
    first = model_fingerprint(str(own.folder / "adapter"))
    path = own.folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[next(iter(tensors))] += 1
    save_file(tensors, path)
    second = model_fingerprint(str(own.folder / "adapter"))
    (own.folder / "adapter" / "adapter_base.json").unlink()
    other_template(own)  # of the base: the adapter's folder has a tokenizer of its own, and its record said nothing
    assert len({first, second, model_fingerprint(str(own.folder / "adapter"))}) == 3
    assert directory(own, path=str(own.folder / "adapter")) != directory(own)


def test_another_library_or_scorer_is_another_evaluation(own, monkeypatch):
    names = [directory(own)]
    monkeypatch.setattr(identity, "version", lambda name: "99")
    names.append(directory(own))
    monkeypatch.setattr(identity, "file_fingerprint", lambda paths: "other code")
    names.append(directory(own))
    assert len(set(names)) == 3


def test_what_decides_nothing_is_the_same_evaluation(own):
    before = directory(own)
    (own.model / "README.md").write_text("About this model.")
    (own.model / "trainer_state.json").write_text("{}")
    change("generation_config.json", temperature=0.7, do_sample=True)(own)
    moved = shutil.copytree(own.model, own.folder / "elsewhere" / "toy")
    same = {"pack_tokens": 128, "packs_per_batch": 1, "texts_per_batch": 1, "num_threads": torch.get_num_threads()}
    assert directory(own, path=str(moved), settings=same) == before


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json", "vocab.txt"])
def test_a_file_of_any_tokenizer_is_part_of_a_model(name, place, tmp_path):
    folder = Path(shutil.copytree(place.model, tmp_path / "model"))
    before = model_fingerprint(str(folder))
    (folder / name).write_text("one")
    first = model_fingerprint(str(folder))
    (folder / name).write_text("two")
    assert len({before, first, model_fingerprint(str(folder))}) == 3
