"""What a row counts in an update, however the update is cut."""

import math

import pytest
import torch

from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, plain_segment
from openflan.training.loop import _accumulate
from openflan.training.objective import id_weights, normaliser
from openflan.training.ranks import Ranks, nothing
from openflan.training.settings import TrainSettings
from toys import draw_ids, toy_model

LENGTHS = [(9, 1), (30, 20), (5, 2), (16, 7), (3, 0), (22, 1), (8, 8), (12, 3)]  # the fifth predicts nothing


def packs() -> list[Pack]:
    return [Pack(32, [plain_segment(key, draw_ids(key, n), k)]) for key, (n, k) in enumerate(LENGTHS)]


def gradient(parts: list[list[Pack]], tmp_path, **changes: object) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of an update that is cut so, and the gradient it leaves."""
    settings = TrainSettings.model_validate(changes)
    model = toy_model("llama")
    ranks = Ranks(settings, tmp_path)
    _, wrapped = ranks.wrap(model)
    model.model.train()
    loss, sizes = _accumulate(wrapped, parts, settings, ranks, among_labels=False)
    assert (sizes.num_supervised, sizes.num_tokens) == (41, 105)  # eight ids of eight: the first is never predicted
    return loss, {name: weight.grad.clone() for name, weight in model.model.named_parameters()}


@pytest.mark.parametrize("loss", ["token_mean", "example_mean"])
def test_microbatches_do_not_change_the_gradient(loss, tmp_path):
    """Eight at once, four and four, one by one, and with a microbatch that holds nothing."""
    whole, expected = gradient([packs()], tmp_path, loss=loss)
    for size in (4, 1):
        parts = [packs()[start : start + size] for start in range(0, 8, size)]
        found, grads = gradient([*parts, [nothing()]], tmp_path, loss=loss)
        assert found == pytest.approx(whole, rel=1e-5)
        assert max(float((grads[name] - expected[name]).abs().max()) for name in expected) < 1e-5
    norm = math.sqrt(sum(float(g.square().sum()) for g in expected.values()))
    assert norm > 1


def test_every_token_counts_the_same_or_every_example(tmp_path):
    model = toy_model("llama")
    with torch.no_grad():
        own = [-model.log_probs(collate([pack])) for pack in packs()]
    tokens = torch.cat(own).mean()
    examples = torch.stack([losses.mean() for losses in own if len(losses)]).mean()
    assert gradient([packs()], tmp_path)[0] == pytest.approx(float(tokens), rel=1e-5)
    assert gradient([packs()], tmp_path, loss="example_mean")[0] == pytest.approx(float(examples), rel=1e-5)
    assert abs(float(tokens - examples)) > 0.01


def test_weights_by_hand():
    rows = [plain_segment(4, [7, 8, 9, 5, 6], 4), plain_segment(5, [7, 8], 1)]
    batch = collate([Pack(8, rows), Pack(8, rows[1:])])  # row 5 of the plan in two packs: two examples
    settings = TrainSettings(loss="example_mean")
    assert id_weights(batch, settings).tolist() == [0.25, 0.25, 0.25, 0.25, 1.0, 1.0]
    assert id_weights(batch, TrainSettings()) is None
    assert (normaliser([batch, batch], settings), normaliser([batch, batch], TrainSettings())) == (6, 12)
    empty = collate([nothing()])
    assert id_weights(empty, settings).tolist() == [] and normaliser([empty], settings) == 0


def test_bf16_is_close_and_its_weights_stay_fp32(tmp_path):
    exact, expected = gradient([packs()], tmp_path)
    loss, grads = gradient([packs()], tmp_path, mixed_precision="bf16")
    assert loss == pytest.approx(exact, rel=0.02) and loss != exact
    assert {grad.dtype for grad in grads.values()} == {torch.float32}
    assert all(
        torch.nn.functional.cosine_similarity(grads[n].flatten(), g.flatten(), 0) > 0.95 for n, g in expected.items()
    )


def test_gradient_checkpointing_changes_no_gradient(tmp_path):
    model, seen = toy_model("llama"), []
    model.use_gradient_checkpointing()
    model.model.base_model.layers[1].mlp.register_forward_pre_hook(lambda *_: seen.append(1))
    settings = TrainSettings()
    ranks = Ranks(settings, tmp_path)
    _, wrapped = ranks.wrap(model)
    model.model.train()
    _accumulate(wrapped, [packs()], settings, ranks, among_labels=False)
    assert len(seen) == 2  # in the forward pass and again in the backward pass
    expected = gradient([packs()], tmp_path)[1]
    assert all(torch.equal(weight.grad, expected[name]) for name, weight in model.model.named_parameters())
