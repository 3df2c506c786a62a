import pytest
import torch

from openflan.models import lm
from openflan.models.lm import HuggingFaceModel
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, Segment, plain_segment
from openflan.training.loss import summed_loss
from toys import MODELS, draw_ids, draw_segments, toy_model, toy_weights

TOLERANCE = 1e-5
Gradients = dict[str, torch.Tensor]
every_model = pytest.mark.parametrize(("kind", "attention"), MODELS)


def gradients(model: HuggingFaceModel, batches: list[list[Pack]]) -> tuple[float, Gradients]:
    """Summed loss over microbatches, and the gradient of every weight."""
    model.model.zero_grad(set_to_none=True)
    total = 0.0
    for packs in batches:
        part = summed_loss(model, collate(packs))
        part.backward()
        total += float(part.detach())
    return total, {name: p.grad.clone() for name, p in model.model.named_parameters() if p.grad is not None}


def assert_same(a: Gradients, b: Gradients) -> None:
    assert a.keys() == b.keys()
    assert len(a) > 10
    for name, gradient in a.items():
        scale = max(1.0, float(gradient.abs().max()))
        assert float((gradient - b[name]).abs().max()) < TOLERANCE * scale, name


def dense_loss(model: HuggingFaceModel, segment: Segment) -> torch.Tensor:
    """What transformers itself makes of one row: a mean over its labels, here times their number."""
    ids = torch.tensor([segment.ids])
    labels = torch.tensor([[i if s else -100 for i, s in zip(segment.ids, segment.supervised, strict=True)]])
    num_labels = int((labels[:, 1:] != -100).sum())
    return model.model(input_ids=ids, labels=labels, use_cache=False).loss * num_labels


@every_model
def test_a_pack_is_its_segments_each_alone(kind, attention):
    model = toy_model(kind, attention)
    segments = draw_segments([9, 5, 12, 2], num_supervised=2)
    together = collate([Pack(32, segments)])
    alone = [collate([Pack(32, [segment])]) for segment in segments]
    with torch.no_grad():
        logits = model.logits(model.hidden(together))
        assert [len(b.labels) for b in alone] == [2, 2, 2, 1]
        assert torch.allclose(logits, torch.cat([model.logits(model.hidden(b)) for b in alone]), atol=TOLERANCE)
        plain = [model.model(input_ids=torch.tensor([s.ids]), use_cache=False).logits[0] for s in segments]
        assert torch.allclose(logits, torch.cat([p[-3:-1] for p in plain]), atol=TOLERANCE)
    packed, unpacked = gradients(model, [[Pack(32, segments)]]), gradients(model, [[Pack(32, [s])] for s in segments])
    assert packed[0] == pytest.approx(unpacked[0], abs=TOLERANCE)
    assert_same(packed[1], unpacked[1])


@every_model
def test_the_loss_is_that_of_transformers_on_the_same_rows(kind, attention):
    model = toy_model(kind, attention)
    segments = draw_segments([9, 5, 12], num_supervised=4)
    found = gradients(model, [[Pack(16, segments[:2]), Pack(16, segments[2:])]])
    model.model.zero_grad(set_to_none=True)
    dense = sum(dense_loss(model, segment) for segment in segments)
    dense.backward()
    assert found[0] == pytest.approx(float(dense.detach()), abs=TOLERANCE * 10)
    assert_same(found[1], {name: p.grad for name, p in model.model.named_parameters() if p.grad is not None})


@every_model
def test_another_segment_changes_nothing(kind, attention):
    model = toy_model(kind, attention)
    kept = plain_segment(1, draw_ids(1, 8), 3)
    outcomes = []
    for seed in (2, 3):
        # Its neighbours are read and not predicted, so every gradient is that of the kept segment.
        before, after = plain_segment(0, draw_ids(seed, 9), 0), plain_segment(2, draw_ids(seed + 10, 7), 0)
        assert before.ids[0] != draw_ids(5 - seed, 1)[0]
        packed = [[Pack(32, [before, kept, after])]]
        with torch.no_grad():
            logits = model.logits(model.hidden(collate(packed[0])))
        assert logits.shape == (3, 320)
        outcomes.append((logits, *gradients(model, packed)))
    (logits, loss, grads), (logits_2, loss_2, grads_2) = outcomes
    assert torch.allclose(logits, logits_2, atol=1e-6)
    assert loss == pytest.approx(loss_2, abs=1e-6)
    assert_same(grads, grads_2)


def test_without_the_mask_the_segments_would_leak():
    """The tests above can fail: the same pack read as one sequence gives other logits."""
    model = toy_model("llama")
    segments = draw_segments([9, 8])
    batch = collate([Pack(32, segments)])
    with torch.no_grad():
        right = model.logits(model.hidden(batch))
        joined = model.model(input_ids=batch.input_ids, position_ids=batch.positions, use_cache=True).logits[0]
    assert float((right[3:] - joined[-4:-1]).abs().max()) > 0.1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_microbatches_do_not_change_the_gradient(size):
    model = toy_model("llama")
    lengths = [(9, 1), (30, 20), (5, 2), (16, 7), (3, 0), (22, 1), (8, 8), (12, 3)]  # one of them predicts nothing
    packs = [Pack(32, [plain_segment(key, draw_ids(key, n), k)]) for key, (n, k) in enumerate(lengths)]
    whole = gradients(model, [packs])
    parts = gradients(model, [packs[start : start + size] for start in range(0, 8, size)])
    assert parts[0] == pytest.approx(whole[0], rel=TOLERANCE)
    assert_same(whole[1], parts[1])


@pytest.mark.parametrize("chunk", [1, 3, 6, 7])
def test_chunks_do_not_change_loss_or_gradient(chunk, monkeypatch):
    model = toy_model("gpt2")
    packs = [[Pack(32, draw_segments([9, 12], num_supervised=3))]]
    whole = gradients(model, packs)
    monkeypatch.setattr(lm, "MAX_LOGITS", chunk * model.codec.vocab_size)
    parts = gradients(model, packs)
    assert parts[0] == pytest.approx(whole[0], rel=TOLERANCE)
    assert_same(whole[1], parts[1])


@pytest.mark.parametrize(("most", "sizes"), [(80, [80]), (79, [40, 40]), (50, [40, 40]), (30, [27, 27, 26])])
def test_chunks_are_of_one_size(most, sizes, monkeypatch):
    """The largest decides the peak of memory."""
    model, seen = toy_model("llama"), []
    batch = collate([Pack(120, draw_segments([60, 60], num_supervised=40))])
    monkeypatch.setattr(lm, "MAX_LOGITS", most * model.codec.vocab_size)
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden, ids: seen.append(len(hidden)) or logits(hidden, ids))
    summed_loss(model, batch)
    assert seen == sizes


def test_only_one_chunk_of_logits_exists_at_a_time(monkeypatch):
    """Nothing as large as a chunk's logits is kept for the backward pass."""
    model, kept = toy_model("llama"), []
    batch = collate([Pack(120, draw_segments([60, 60], num_supervised=40))])
    monkeypatch.setattr(lm, "MAX_LOGITS", 10 * model.codec.vocab_size)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        summed_loss(model, batch)
    assert len(kept) > 20
    vocabulary = model.model.get_output_embeddings().weight.shape[0]
    assert [shape for shape in kept if shape[-1:] == (vocabulary,)] == []
    monkeypatch.setattr(lm, "MAX_LOGITS", 1 << 24)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        summed_loss(model, batch)
    assert (80, vocabulary) in kept


def test_chunks_over_many_packs(monkeypatch):
    model = toy_model("llama")
    packs = [Pack(120, [plain_segment(key, draw_ids(key, 120), 120)]) for key in range(18)]
    batch = collate(packs)
    monkeypatch.setattr(lm, "MAX_LOGITS", 1 << 19)
    assert len(batch.labels) == 18 * 119 > lm.logits_at_once(model.codec.vocab_size)
    with torch.no_grad():
        parts = sum(float(summed_loss(model, collate([p]))) for p in packs)
        assert float(summed_loss(model, batch)) == pytest.approx(parts, rel=TOLERANCE)


def test_three_ids_by_hand():
    """-log p of each supervised id, from the position before it; the first id of all is never predicted."""
    model = toy_model("gpt2")
    ids = [5, 6, 7]
    with torch.no_grad():
        log_p = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = -(log_p[0, 6] + log_p[1, 7])
        found = summed_loss(model, collate([Pack(4, [plain_segment(0, ids, 3)])]))
        scored = model.log_probs(collate([Pack(4, [plain_segment(0, ids, 3)])]))
    assert float(found) == pytest.approx(float(expected), abs=TOLERANCE)
    assert scored.tolist() == pytest.approx([float(log_p[0, 6]), float(log_p[1, 7])], abs=TOLERANCE)


def test_the_loss_is_fp32_whatever_the_models_dtype():
    model = HuggingFaceModel(toy_weights("llama").to(torch.bfloat16), None, toy_model("llama").codec)
    batch = collate([Pack(32, draw_segments([9, 12]))])
    assert summed_loss(model, batch).dtype is torch.float32
    assert model.log_probs(batch).dtype is torch.float32


def test_nothing_supervised_is_zero():
    model = toy_model("llama")
    loss = summed_loss(model, collate([Pack(8, [plain_segment(0, [5, 6, 7], 0)])]))
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_among_labels_the_softmax_is_over_the_predicted_ids_alone():
    model = toy_model("llama")
    batch = collate([Pack(16, [plain_segment(0, [5, 6, 7, 8], 3), plain_segment(1, [9, 7, 6], 2)])])
    with torch.inference_mode():
        logits, loss = model.logits(model.hidden(batch)), float(summed_loss(model, batch))
        among = float(summed_loss(model, batch, among_labels=True))
    expected = 0.0
    for row, label in zip(logits, batch.labels.tolist(), strict=True):
        expected += float(row[[6, 7, 8]].logsumexp(0) - row[label])
    assert among == pytest.approx(expected, rel=1e-5)
    assert loss > expected + 1
