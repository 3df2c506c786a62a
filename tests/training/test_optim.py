import pytest
import torch

from openflan.training.optim import clip_gradients, make_optimizers, rate_factor, scale_rates
from openflan.training.settings import TrainSettings
from toys import KINDS, toy_weights


@pytest.mark.parametrize(
    ("schedule", "warmup", "num_updates", "expected"),
    [
        ("constant", 0, 3, [1.0, 1.0, 1.0]),
        ("constant", 4, 6, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        ("linear", 0, 4, [1.0, 0.75, 0.5, 0.25]),
        ("linear", 2, 6, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", 0, 4, [1.0, 0.8535533905932737, 0.5, 0.1464466094067262]),
        ("cosine", 1, 3, [1.0, 1.0, 0.5]),
        ("trapezoid", 0, 8, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]),
        ("trapezoid", 2, 16, [0.5, *[1.0] * 12, 0.75, 0.5, 0.25]),
        ("trapezoid", 0, 2, [1.0, 1.0]),
        ("linear", 9, 2, [1 / 9, 2 / 9]),  # shorter than its warm-up
    ],
)
def test_rates(schedule, warmup, num_updates, expected):
    settings = TrainSettings(schedule=schedule, num_warmup_updates=warmup)
    found = [rate_factor(settings, update, num_updates) for update in range(num_updates)]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw", "muon"])
def test_every_weight_belongs_to_one_optimizer(optimizer):
    model = toy_weights("gpt2")
    groups = [g for o in make_optimizers(model, TrainSettings(optimizer=optimizer)) for g in o.param_groups]
    held = [id(p) for group in groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters())) == 28


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("kind", KINDS)
def test_neither_norms_nor_embeddings_decay(kind, optimizer):
    model = toy_weights(kind)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizers = make_optimizers(model, TrainSettings(optimizer=optimizer, weight_decay=0.1))
    groups = [group for o in optimizers for group in o.param_groups]
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    spared = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    assert len(decayed) + len(spared) == len(names)
    assert len(decayed) == {"gpt2": 8, "neox": 8}.get(kind, 14)  # the matrices of two layers
    assert {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)} <= {
        i for i, name in names.items() if name in spared
    }
    assert all(model.get_parameter(name).ndim == 2 for name in decayed)


def test_muon_takes_matrices_at_ten_times_the_rate():
    muon, adamw = make_optimizers(toy_weights("llama"), TrainSettings(optimizer="muon", learning_rate=0.5))
    assert (type(muon), type(adamw)) == (torch.optim.Muon, torch.optim.AdamW)
    assert (muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"]) == (5.0, 0.5)


def test_rates_are_scaled_from_where_they_began():
    optimizers = make_optimizers(toy_weights("llama"), TrainSettings(optimizer="muon", learning_rate=0.5))
    for factor in (0.5, 0.25, 1.0, 0.0):
        scale_rates(optimizers, factor)
        assert [g["lr"] for o in optimizers for g in o.param_groups] == [5.0 * factor, 0.5 * factor]


def test_frozen_weights_are_left_out():
    model = toy_weights("llama")
    model.get_input_embeddings().weight.requires_grad_(False)
    (adafactor,) = make_optimizers(model, TrainSettings())
    assert len(adafactor.param_groups[0]["params"]) == 20
    model.requires_grad_(False).get_input_embeddings().weight.requires_grad_(True)  # as where a prompt is learned
    (adamw,) = make_optimizers(model, TrainSettings(optimizer="muon"))
    assert [len(group["params"]) for group in adamw.param_groups] == [1]


def test_gradients_are_clipped_together():
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    assert clip_gradients(layer, 1.0) == 5.0
    assert layer.weight.grad.tolist()[0] == pytest.approx([0.6, 0.0])
    assert layer.bias.grad.tolist() == pytest.approx([0.8])
    assert clip_gradients(layer, 10.0) == pytest.approx(1.0)
    assert layer.bias.grad.tolist() == pytest.approx([0.8])
