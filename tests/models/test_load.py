import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    GenerationConfig,
    PreTrainedTokenizerFast,
    T5Config,
    ViTConfig,
)

from openflan import files
from openflan.errors import ModelError, RunError
from openflan.finished import signed
from openflan.models.folder import EMBEDDED, model_fingerprint, model_folder
from openflan.models.load import load_model, load_weights, save_model, wrap
from openflan.models.make import make_model
from openflan.models.settings import ModelSettings, ModelShape
from openflan.models.tokenizer import train_tokenizer
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack
from toys import SHAPE, TEXTS, draw_segments, toy_config, toy_model, toy_tokenizer, toy_weights

WEIGHTS = "model.safetensors"
TINY = ModelShape(vocab_size=320, hidden_size=32, num_layers=2, num_heads=4, mlp_size=64, max_positions=128)


def load(folder: Path):
    return load_model(ModelSettings(path=str(folder)))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_is_saved_is_what_is_loaded(kind, tmp_path):
    before = toy_model(kind, "segmented", seed=3)  # as it is loaded on a CPU
    save_model(before, tmp_path / "model")
    after = load(tmp_path / "model")
    weights, again = dict(before.model.named_parameters()), dict(after.model.named_parameters())
    assert weights.keys() == again.keys()
    assert len(weights) > 10
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert after.codec.fingerprint == before.codec.fingerprint
    batch = collate([Pack(64, draw_segments([9, 12]))])
    before.attend_in_segments()  # as what is loaded does: another order of additions rounds differently
    assert torch.equal(after.log_probs(batch), before.log_probs(batch))
    assert after.generate([[5, 6, 7]], 6) == before.generate([[5, 6, 7]], 6)


def test_half_precision_on_the_disk_is_fp32_in_memory(tmp_path):
    model = toy_model("llama").model
    save_model(wrap(model, toy_tokenizer(), tmp_path), tmp_path / "model", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model" / WEIGHTS).values()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    again = load(tmp_path / "model")
    for name, weight in model.named_parameters():
        assert torch.equal(again.model.get_parameter(name), weight.to(torch.bfloat16).float())


def test_tied_embeddings_stay_tied(tmp_path):
    model = wrap(make_model(TINY, seed=0, eos_id=0, pad_id=1), toy_tokenizer(), tmp_path)
    save_model(model, tmp_path / "model", dtype=torch.bfloat16)
    assert "lm_head.weight" not in load_file(tmp_path / "model" / WEIGHTS)
    again = load(tmp_path / "model").model
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def test_weights_that_the_disk_changed_are_an_error(tmp_path, monkeypatch):
    model = toy_model("llama")
    save = type(model.model).save_pretrained

    def flawed(self, folder, state_dict):
        save(
            self,
            folder,
            state_dict={name: t.clone().fill_(0.5) if "norm" in name else t for name, t in state_dict.items()},
        )

    monkeypatch.setattr(type(model.model), "save_pretrained", flawed)
    with pytest.raises(ModelError, match=r"weights that changed on the disk \(model.layers.0.input_layernorm.weight"):
        save_model(model, tmp_path / "model")


def test_load_weights_replaces_them(saved):
    model = toy_model("llama", seed=9)
    expected = load(saved)
    weights, wanted = model.model.state_dict(), expected.model.state_dict()
    assert not torch.equal(weights["model.norm.weight"] + weights["lm_head.weight"].sum(), wanted["model.norm.weight"])
    load_weights(model, saved)
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.model.state_dict().items())


def test_the_embedded_base_loads():
    model = load_model(ModelSettings())
    assert model_folder("base") == EMBEDDED
    assert model.codec.decode(model.codec.encode("Who went to the river?")) == "Who went to the river?"


def test_dtype_and_attention_are_those_of_the_settings(saved):
    model = load_model(ModelSettings(path=str(saved), dtype="bfloat16", attention="eager"))
    assert {weight.dtype for weight in model.model.parameters()} == {torch.bfloat16}
    assert model.model.config._attn_implementation == "eager"


def test_attention_that_the_architecture_lacks_is_an_error(tmp_path):
    save_model(toy_model("gemma2"), tmp_path / "model")
    with pytest.raises(ModelError, match="Gemma2ForCausalLM does not support an attention implementation"):
        load_model(ModelSettings(path=str(tmp_path / "model"), attention="sdpa"))


def generated(folder: Path, ids: list[int]) -> list[int]:
    """What a user gets who knows nothing of this project."""
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return model.generate(torch.tensor([ids]), max_new_tokens=12)[0, len(ids) :].tolist()


@pytest.mark.parametrize("pad", ["end", "other", "none"])
def test_a_saved_folder_generates_and_stops(pad, tmp_path):
    model = toy_model("llama")
    free = model.generate([[5, 6, 7]], 12)[0]
    stop = free[3]
    assert stop not in free[:3] and len(free) == 12
    tokenizer = train_tokenizer(TEXTS * 3, 319)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop)
    tokenizer.pad_token = {"end": tokenizer.eos_token, "other": "<|pad|>", "none": None}[pad]
    # The folder's own settings are as wrong as those in the reports: it pads with the end and stops elsewhere.
    weights = toy_weights("llama")
    weights.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=stop, min_new_tokens=11)
    weights.config.pad_token_id = stop
    save_model(wrap(weights, tokenizer, tmp_path), tmp_path / "model")
    assert generated(tmp_path / "model", [5, 6, 7]) == free[:4]
    written = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert written["eos_token_id"] == config["eos_token_id"] == stop
    assert written.get("pad_token_id") == config.get("pad_token_id") == (1 if pad == "other" else None)


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
def test_a_text_ends_at_every_end_of_text_id_that_the_folder_names(where, folder):
    free = load(folder).generate([[5, 6, 7]], 12)[0]
    turn = free[3]
    assert turn not in (0, *free[:3]) and len(free) == 12
    if where == "config.json":
        (folder / "generation_config.json").unlink()
    change_json(folder / where, eos_token_id=[0, turn])
    model = load(folder)
    assert (model.codec.eos_id, model.codec.ends) == (0, (0, turn))
    assert model.generate([[5, 6, 7], [5]], 12)[0] == free[:3]
    assert generated(folder, [5, 6, 7]) == free[:4]  # transformers keeps the id itself
    save_model(model, folder.parent / "again")
    assert json.loads((folder.parent / "again" / "generation_config.json").read_text())["eos_token_id"] == [0, turn]
    assert load(folder.parent / "again").generate([[5, 6, 7]], 12)[0] == free[:3]


def test_logits_that_the_disk_changed_are_an_error(tmp_path, monkeypatch):
    """A setting of the shape that is not written is no weight, and changes every answer."""
    model = toy_model("llama")
    model.model.config.rms_norm_eps = 0.5
    with pytest.raises(ModelError, match="other logits than before it was saved"):
        save_model(model, tmp_path / "model")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(self, folder, state_dict):
        raise OSError(28, "No space left on device")

    model = toy_model("llama")
    monkeypatch.setattr(type(model.model), "save_pretrained", full)
    with pytest.raises(RunError, match="No space left on device; expected room for the weights"):
        save_model(model, tmp_path / "model")


def damage_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def drop_a_weight(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def widen_a_weight(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"model.norm.weight": torch.ones(7)}, folder / WEIGHTS, metadata={"format": "pt"})


def forget_eos(folder: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=toy_tokenizer().backend_tokenizer).save_pretrained(folder)


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_config(**values: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **values)


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "found no such folder"),
    "no config": (lambda f: (f / "config.json").unlink(), "a folder without config.json"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "no \\*.safetensors file"),
    "half the weights": (damage_weights, "a causal language model that transformers can load"),
    "a weight missing": (drop_a_weight, "no weights for model.layers.1.mlp.up_proj.weight"),
    "a weight of another shape": (widen_a_weight, "a causal language model that transformers can load"),
    "not JSON": (lambda f: (f / "config.json").write_text("{"), "not a valid JSON file"),
    "a width that is no number": (change_config(hidden_size="wide"), "hidden_size"),
    "fewer layers than weights": (
        change_config(num_hidden_layers=1),
        r"weights of more layers than config.json asks for \(model.layers.1.input_layernorm.weight",
    ),
    "unknown type": (change_config(model_type="nonesuch"), "does not recognize"),
    "an encoder": (lambda f: BertConfig(**SHAPE).save_pretrained(f), "no weights for bert"),
    "an encoder and decoder": (
        lambda f: T5Config(vocab_size=320, d_model=32).save_pretrained(f),
        "an encoder-decoder model \\(t5\\)",
    ),
    "a model that predicts no next id": (lambda f: ViTConfig().save_pretrained(f), "a model of type vit"),
    "no tokenizer": (remove_tokenizer, "a tokenizer that transformers can load"),
    "a tokenizer that is not one": (
        lambda f: (f / "tokenizer.json").write_text('{"a": 1}'),
        "that transformers can load",
    ),
    "no end of text": (forget_eos, "a tokenizer without an end-of-text token"),
}


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.filterwarnings("ignore:.*Error parsing:UserWarning")
def test_an_unusable_folder_is_an_error_that_names_it(name, folder):
    damage, message = UNUSABLE[name]
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder}: found ")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    config = toy_config("llama")
    config.vocab_size = 300
    toy_weights(config).save_pretrained(tmp_path / "model")
    toy_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="model: found a tokenizer whose highest id is 319 and a model with 300 rows"):
        load(tmp_path / "model")


def test_ids_may_have_gaps_as_long_as_the_model_has_rows_for_them(folder):
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    vocabulary = value["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] = 330
    path.write_text(json.dumps(value))
    with pytest.raises(ModelError, match="a tokenizer whose highest id is 330 and a model with 320 rows"):
        load(folder)
    config = toy_config("llama")
    config.vocab_size = 340
    toy_weights(config).save_pretrained(folder)
    model = load(folder)
    assert (model.codec.vocab_size, model.tokenizer.convert_tokens_to_ids(last)) == (331, 330)


def test_the_fingerprint_follows_weights_shape_and_tokenizer(folder):
    first = model_fingerprint(str(folder))
    assert model_fingerprint(str(folder)) == first
    (folder / "README.md").write_text("About this model.")
    assert model_fingerprint(str(folder)) == first

    tensors = load_file(folder / WEIGHTS)
    tensors["model.norm.weight"][3] += 1e-3
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    seen = [first, model_fingerprint(str(folder))]
    change_config(rms_norm_eps=1e-3)(folder)
    seen.append(model_fingerprint(str(folder)))
    train_tokenizer(["other words"], 300).save_pretrained(folder)
    seen.append(model_fingerprint(str(folder)))
    assert len(set(seen)) == 4


def test_a_signed_record_of_something_else_is_one_error(folder):
    files.write_json(folder / files.DONE, signed({"made_from": 1}))
    with pytest.raises(RunError, match="a record without files"):
        load_model(ModelSettings(path=str(folder)))
