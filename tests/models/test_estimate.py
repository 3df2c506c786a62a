import shutil
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import Embedding
from torch.optim import Adafactor, AdamW, Muon
from torch.utils.flop_counter import FlopCounterMode
from transformers import BloomConfig, MambaConfig

from openflan.errors import ModelError
from openflan.models import estimate as estimate_module
from openflan.models.adapters import add_adapter
from openflan.models.attention import SEGMENTED
from openflan.models.estimate import Estimate, estimate
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, save_model
from openflan.models.settings import LoraSettings, ModelSettings, PromptTuningSettings
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, plain_segment
from toys import KINDS, MODELS, NUM_IDS, composite_config, draw_ids, toy_config, toy_model, toy_weights

LORA, PROMPT = LoraSettings(rank=2, alpha=4), PromptTuningSettings(num_tokens=3)
T, PACKS, SUPERVISED = 16, 2, 10


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(estimate_module, "MEASURING_SECONDS", 0.01)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """Folders that hold a config and nothing else."""
    folder = tmp_path_factory.mktemp("shapes")
    for kind in KINDS:
        toy_config(kind).save_pretrained(folder / kind)
    return folder


def estimated(folder: Path, num_tokens: int = T * PACKS, optimizer: str = "adafactor", **settings: object) -> Estimate:
    training = {key: settings.pop(key) for key in ("gradient_checkpointing", "mixed_precision") if key in settings}
    model = ModelSettings(path=str(folder), **settings)
    return estimate(model, num_tokens, SUPERVISED, T * PACKS, optimizer, pack_tokens=T, **training)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_counted_without_weights(kind, shapes):
    num_parameters = sum(weight.numel() for weight in toy_weights(kind).parameters())
    found = estimated(shapes / kind)
    assert (found.num_parameters, found.num_trainable) == (num_parameters, num_parameters)


def test_the_text_part_of_a_composite_model_counts(tmp_path):
    composite_config().save_pretrained(tmp_path)
    found = estimated(tmp_path)
    assert found.num_parameters == sum(weight.numel() for weight in toy_weights(composite_config()).parameters())
    assert found.flops > estimated(tmp_path, num_tokens=T).flops > 0


def test_the_embedded_base_by_hand():
    table, matrices, vectors = 1899 * 96, 4 * (4 * 96 * 96 + 3 * 96 * 256), 4 * (2 + 4) * 96 + 96  # norms, biases
    found = estimate(ModelSettings(), 8192, 800, 8192, "adamw")
    assert found.num_parameters == table + matrices + vectors == 627_072
    attention = 4 * 4 * 1024 * 96
    assert found.flops == 8192 * (6 * matrices + 3 * attention) + 800 * 6 * table
    assert found.seconds == pytest.approx(found.flops / (0.5 * found.matmul_flops_per_second))
    assert found.matmul_flops_per_second > 1e8


@pytest.mark.parametrize(
    ("adapter", "num_trainable"),
    [
        (LORA, 2 * 2 * (64 + 48 + 48 + 64 + 96 + 96 + 96)),
        (LoraSettings(rank=3, targets=("q_proj", "v_proj")), 2 * 3 * (64 + 48)),
        (PROMPT, 3 * 32),
    ],
)
def test_what_an_adapter_trains_is_counted(adapter, num_trainable, shapes):
    plain, found = estimated(shapes / "llama"), estimated(shapes / "llama", adapter=adapter)
    assert (found.num_parameters, found.num_trainable) == (plain.num_parameters, num_trainable)
    assert found.flops < plain.flops
    assert found.memory_bytes < plain.memory_bytes


def training_pass(model: HuggingFaceModel) -> torch.Tensor:
    """A forward pass over full packs, as training makes it."""
    segments = [plain_segment(k, [*model.codec.before, *draw_ids(k, T)][:T], SUPERVISED // PACKS) for k in range(PACKS)]
    model.model.train()
    return model.logits(model.hidden(collate([Pack(T, [segment]) for segment in segments])))


@pytest.mark.parametrize("kind", KINDS)
def test_the_arithmetic_is_what_torch_counts(kind, shapes):
    model = toy_model(kind, "eager")
    with FlopCounterMode(display=False) as counter:
        training_pass(model).sum().backward()
    assert counter.get_total_flops() == pytest.approx(estimated(shapes / kind).flops, rel=0.01)


@pytest.mark.parametrize("adapter", [LORA, PROMPT], ids=["lora", "prompt"])
def test_the_arithmetic_of_adapters_is_close(adapter, shapes, tmp_path):
    """Nothing below the first adapter is differentiated, which with two layers is a good part of a layer."""
    save_model(toy_model("llama", "eager"), tmp_path / "model")
    model = load_model(ModelSettings(path=str(tmp_path / "model"), attention="eager"))
    add_adapter(model, adapter, 0)
    with FlopCounterMode(display=False) as counter:
        training_pass(model).sum().backward()
    assert counter.get_total_flops() == pytest.approx(estimated(shapes / "llama", adapter=adapter).flops, rel=0.1)


def test_gradient_checkpointing_computes_more_and_keeps_less(shapes):
    plain, again = (estimated(shapes / "llama", gradient_checkpointing=on) for on in (False, True))
    model = toy_model("llama", "eager")
    model.use_gradient_checkpointing()
    with FlopCounterMode(display=False) as counter:
        training_pass(model).sum().backward()
    # torch leaves out the last matrix of each layer, whose output nobody asks for.
    assert counter.get_total_flops() == pytest.approx(again.flops, rel=0.05)
    assert again.flops > 1.2 * plain.flops
    assert again.memory_bytes < plain.memory_bytes


def test_selective_checkpointing_computes_no_product_more_and_keeps_less(shapes):
    plain, some, all_again = (estimated(shapes / "llama", gradient_checkpointing=g) for g in (False, "selective", True))
    assert some.flops == plain.flops
    assert all_again.memory_bytes < some.memory_bytes
    # By hand: two layers of query, key, value, attention and its sums, output, gate, up and down, and their inputs.
    products = 2 * T * PACKS * (32 + 16 + 16 + 32 + 4 + 32 + 64 + 64 + 32) * 4
    assert some.memory_bytes - all_again.memory_bytes == pytest.approx(products, rel=0.02)


@pytest.mark.parametrize(("kind", "attention"), [m for m in MODELS if m[1] != SEGMENTED])
def test_memory_is_weights_gradients_state_and_what_autograd_keeps(kind, attention, shapes):
    model = toy_model(kind, attention)
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        training_pass(model)
    weights = {p.untyped_storage()._cdata for p in model.model.parameters()}
    activations = sum(t.untyped_storage().nbytes() for storage, t in kept.items() if storage not in weights)
    num_parameters = sum(p.numel() for p in model.model.parameters())
    expected = 4 * (4 * num_parameters + 3 * SUPERVISED * NUM_IDS) + activations
    found = estimated(shapes / kind, optimizer="adamw", attention=attention).memory_bytes
    assert found == pytest.approx(expected, rel=0.05)


def test_half_precision_takes_less_memory(shapes):
    plain = estimated(shapes / "llama").memory_bytes
    assert estimated(shapes / "llama", dtype="bfloat16").memory_bytes < 0.6 * plain
    # The weights stay fp32, and a copy of them in half precision is kept for the backward pass.
    mixed, long = (estimate(ModelSettings(path=str(shapes / "llama")), 1024, 10, 1024, "adafactor", pack_tokens=128,
                            mixed_precision=kind).memory_bytes for kind in ("bf16", "no"))  # fmt: skip
    assert mixed < 0.8 * long


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw", "muon"])
def test_the_optimizers_state_is_what_torch_keeps(kind, optimizer):
    model = toy_weights(kind)
    tables = {id(p) for m in model.modules() if isinstance(m, Embedding) for p in m.parameters()}
    tables.add(id(model.get_output_embeddings().weight))
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in tables]
    others = [p for p in model.parameters() if p.ndim != 2 or id(p) in tables]
    optimizers = {
        "adafactor": [Adafactor(model.parameters())],
        "adamw": [AdamW(model.parameters())],
        "muon": [Muon(matrices), AdamW(others)],
    }[optimizer]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for one in optimizers:
        one.step()
    states = [state for one in optimizers for state in one.state.values()]
    kept = sum(t.numel() for state in states for name, t in state.items() if name != "step")
    counted = sum(estimate_module._num_in_state(p, optimizer, id(p) in tables) for p in model.parameters())
    assert counted == kept > 1000


def test_more_tokens_take_longer_and_no_more_memory(shapes):
    one, ten = (estimated(shapes / "llama", num_tokens=n * T * PACKS) for n in (1, 10))
    assert ten.flops > 8 * one.flops
    assert ten.memory_bytes <= one.memory_bytes


def test_an_adapters_folder_is_estimated_as_its_base(shapes, tmp_path):
    save_model(toy_model("llama"), tmp_path / "base")
    model = load_model(ModelSettings(path=str(tmp_path / "base")))
    add_adapter(model, LORA, 0)
    save_model(model, tmp_path / "adapter")
    (tmp_path / "base" / "model.safetensors").unlink()
    found = estimated(tmp_path / "adapter")
    assert found.num_parameters == estimated(shapes / "llama").num_parameters


def test_what_cannot_be_estimated(shapes, tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        estimated(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="names of layers of this model"):
        estimated(shapes / "llama", adapter=LoraSettings(targets=("nonesuch",)))
    shutil.copytree(shapes / "llama", tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"broken: found .* not a valid JSON file"):
        estimated(tmp_path / "broken")
    for config in (BloomConfig(hidden_size=32, n_layer=2, n_head=4), MambaConfig(hidden_size=32, num_hidden_layers=2)):
        config.save_pretrained(tmp_path / config.model_type)
        with pytest.raises(ModelError, match=r"cannot be followed without weights"):
            estimated(tmp_path / config.model_type)
