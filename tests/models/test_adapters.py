import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, IA3Config, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from openflan.errors import ModelError
from openflan.models import adapters
from openflan.models.adapters import add_adapter
from openflan.models.folder import EMBEDDED, model_fingerprint
from openflan.models.lm import HuggingFaceModel
from openflan.models.load import load_model, load_weights, save_model
from openflan.models.settings import LoraSettings, ModelSettings, PromptTuningSettings
from openflan.tokens.batch import collate
from openflan.tokens.pack import Pack, plain_segment
from toys import KINDS, NUM_IDS, draw_ids, toy_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's

WEIGHTS = "adapter_model.safetensors"
LORA, PROMPT = LoraSettings(rank=2, alpha=4), PromptTuningSettings(num_tokens=3)
STORED = [kind for kind in KINDS if not kind.startswith("qwen")]  # whose tokenizers are loaded with ids of their own
BOTH = pytest.mark.parametrize("settings", [LORA, PROMPT], ids=["lora", "prompt"])


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    """A folder for each kind of model."""
    folder = tmp_path_factory.mktemp("bases")
    for kind in STORED:
        save_model(toy_model(kind), folder / kind)
    return folder


def load(folder: Path, **settings: object) -> HuggingFaceModel:
    return load_model(ModelSettings(path=str(folder), **settings))


def adapted(folder: Path, settings: LoraSettings | PromptTuningSettings, seed: int = 0) -> HuggingFaceModel:
    """A model with an adapter that does something: LoRA's second matrices begin as zeros."""
    model = load(folder)
    add_adapter(model, settings, seed)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=draw) * 0.2)
    return model


def pack_of(model: HuggingFaceModel, lengths: tuple[int, ...] = (9, 5, 12)) -> Pack:
    """Training segments as the encoder makes them: what comes before every prompt, then ids of their own."""
    before = model.codec.before
    return Pack(64, [plain_segment(k, [*before, *draw_ids(k, n)], 3) for k, n in enumerate(lengths)])


def logits(model: HuggingFaceModel, pack: Pack) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.hidden(collate([pack])))


def trainable(model: HuggingFaceModel) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("kind", STORED)
@BOTH
def test_a_pack_is_its_segments_each_alone_and_as_peft_has_them(kind, settings, bases):
    model = adapted(bases / kind, settings)
    model.check_parity(Path(kind))
    pack = pack_of(model)
    found = logits(model, pack)
    alone = torch.cat([logits(model, Pack(64, [segment])) for segment in pack.segments])
    assert torch.allclose(found, alone, atol=1e-5)
    assert float((found - logits(load(bases / kind), pack_of(load(bases / kind)))).abs().max()) > 0.05
    # Peft's own forward puts the learned prompt before ids that know nothing of it.
    save_model(model, bases / "adapter")
    plain = AutoModelForCausalLM.from_pretrained(bases / kind, local_files_only=True)
    peft = PeftModel.from_pretrained(plain, bases / "adapter").eval()
    ids = [segment.ids[len(model.codec.before) :] for segment in pack.segments]
    with torch.no_grad():
        expected = torch.cat([peft(input_ids=torch.tensor([i]), use_cache=False).logits[0, -4:-1] for i in ids])
    assert torch.allclose(found, expected, atol=1e-5)
    shutil.rmtree(bases / "adapter")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox"])
def test_generation_sees_the_adapter(kind, bases):
    model = adapted(bases / kind, PROMPT)
    prompts = [[*model.codec.before, *draw_ids(seed, n)] for seed, n in enumerate((3, 17, 1))]
    together = model.generate(prompts, 8)
    assert together != load(bases / kind).generate([p[3:] for p in prompts], 8)
    for prompt, answer in zip(prompts, together, strict=True):
        ids = list(prompt)
        for _ in range(8):
            with torch.inference_mode():
                ids.append(int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert answer == ids[len(prompt) :]
        assert max(answer) < NUM_IDS


def test_a_learned_prompt_begins_every_prompt(bases):
    model, plain = adapted(bases / "llama", PROMPT), load(bases / "llama")
    ids = plain.codec.prompt_ids("The cat sat.")
    assert model.codec.before == (320, 321, 322)
    assert model.codec.prompt_ids("The cat sat.") == [320, 321, 322, *ids]
    assert model.codec.vocab_size == plain.codec.vocab_size == 320
    assert model.codec.fingerprint != plain.codec.fingerprint
    assert model.codec.target_ids("cat") == plain.codec.target_ids("cat")


@pytest.mark.parametrize(
    ("settings", "num_tensors", "num_weights"),
    [
        # 7 linear layers in each of 2: inputs of 32 (64 before `down`), outputs of 32, 16 for the two heads of k and v.
        (LORA, 28, 2 * 2 * (64 + 48 + 48 + 64 + 96 + 96 + 96)),
        (LoraSettings(rank=3, targets=("q_proj", "v_proj")), 8, 2 * 3 * (64 + 48)),
        (PROMPT, 1, 3 * 32),
    ],
    ids=["all linear layers", "two of them", "a prompt"],
)
def test_only_the_adapter_learns(settings, num_tensors, num_weights, bases):
    model = adapted(bases / "llama", settings)
    learning = trainable(model)
    assert (len(learning), sum(w.numel() for w in learning.values())) == (num_tensors, num_weights)
    assert all("lora_" in name or "prompt" in name for name in learning)
    before = {name: weight.detach().clone() for name, weight in model.model.named_parameters()}
    logits = model.logits(model.hidden(collate([pack_of(model)])))
    logits.square().mean().backward()
    assert all(weight.grad is not None and float(weight.grad.abs().max()) > 0 for weight in learning.values())
    torch.optim.SGD(learning.values(), lr=0.1).step()
    changed = {name for name, weight in model.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(learning)


@BOTH
def test_gradient_checkpointing_reaches_the_adapter(settings, bases):
    found = []
    for again in (False, True, "selective"):
        model = adapted(bases / "llama", settings)
        model.model.train()
        if again:
            model.use_gradient_checkpointing(selective=again == "selective")
        model.logits(model.hidden(collate([pack_of(model)]))).square().sum().backward()
        found.append({name: weight.grad for name, weight in trainable(model).items()})
    assert found[0].keys() == found[1].keys() == found[2].keys()
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-4) for name in found[0])
    assert all(torch.equal(found[0][name], found[2][name]) for name in found[0])


@BOTH
def test_the_beginning_is_decided_by_the_seed(settings, bases):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(made))  # whatever was drawn before
        model = load(bases / "llama")
        add_adapter(model, settings, seed)
        made.append(model.state())
    one, same, other = made
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_lora_begins_as_no_change(bases):
    model = load(bases / "gpt2")
    before = logits(model, pack_of(model))
    add_adapter(model, LORA, 0)
    assert torch.equal(logits(model, pack_of(model)), before)


def test_a_prompt_begins_as_wide_as_the_embeddings(bases):
    """Gemma's table multiplies what it looks up; ours is not looked up in it."""
    for kind in ("llama", "gemma3"):
        model = load(bases / kind)
        add_adapter(model, PromptTuningSettings(num_tokens=40), 0)
        words = model.model.get_input_embeddings()(torch.arange(NUM_IDS)).detach().std()
        assert float(model.state()["prompt_embeddings"].std()) == pytest.approx(float(words), rel=0.1)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@BOTH
def test_what_is_saved_is_what_is_loaded(kind, settings, bases, tmp_path):
    before = adapted(bases / kind, settings)
    save_model(before, tmp_path / "adapter")
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"} <= names
    assert "model.safetensors" not in names
    after = load(tmp_path / "adapter")
    assert before.state().keys() == after.state().keys() == load_file(tmp_path / "adapter" / WEIGHTS).keys()
    assert all(torch.equal(before.state()[name], after.state()[name]) for name in before.state())
    assert torch.equal(before.probe(), after.probe())
    assert torch.equal(logits(before, pack_of(before)), logits(after, pack_of(after)))
    assert after.codec.before == before.codec.before
    assert after.codec.fingerprint == before.codec.fingerprint
    assert trainable(after).keys() == trainable(before).keys()  # tuning it goes on with the adapter
    by_itself = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert len(list(by_itself.parameters())) > 10


@BOTH
def test_load_weights_replaces_those_of_the_adapter(settings, bases, tmp_path):
    tuned = adapted(bases / "llama", settings, seed=5)
    save_model(tuned, tmp_path / "adapter")
    model = adapted(bases / "llama", settings)
    assert not torch.equal(model.probe(), tuned.probe())
    load_weights(model, tmp_path / "adapter")
    assert torch.equal(model.probe(), tuned.probe())


def test_an_adapter_on_weights_in_half_precision(bases, tmp_path):
    for settings in (LORA, PROMPT):
        model = load(bases / "llama", dtype="bfloat16")
        add_adapter(model, settings, 0)
        assert {weight.dtype for weight in trainable(model).values()} == {torch.float32}
        folder = tmp_path / settings.kind
        save_model(model, folder)
        assert torch.equal(load(folder, dtype="bfloat16").probe(), model.probe())


def test_the_embedded_base_may_move(tmp_path, monkeypatch):
    model = load_model(ModelSettings())
    add_adapter(model, PROMPT, 0)
    save_model(model, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(EMBEDDED.resolve())  # what peft itself goes by
    config["base_model_name_or_path"] = "/another/installation/of/it"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    assert torch.equal(load(tmp_path / "adapter").probe(), model.probe())


@pytest.fixture
def saved(bases, tmp_path) -> Path:
    """An adapter and its base, side by side, that a test may damage."""
    shutil.copytree(bases / "llama", tmp_path / "base")
    save_model(adapted(tmp_path / "base", LORA), tmp_path / "adapter")
    return tmp_path / "adapter"


def change_base(adapter: Path) -> None:
    tensors = load_file(adapter.parent / "base" / "model.safetensors")
    tensors["model.norm.weight"][3] += 1e-3
    save_file(tensors, adapter.parent / "base" / "model.safetensors", metadata={"format": "pt"})


def change_weights(adapter: Path, drop: int = 0, **more: torch.Tensor) -> None:
    tensors = dict(list(load_file(adapter / WEIGHTS).items())[drop:])
    save_file(tensors | more, adapter / WEIGHTS, metadata={"format": "pt"})


def another_kind(adapter: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(adapter.parent / "base", local_files_only=True)
    get_peft_model(base, IA3Config(task_type="CAUSAL_LM")).save_pretrained(adapter)


UNUSABLE = {
    "base gone": (lambda f: shutil.rmtree(f.parent / "base"), "an adapter whose base model .*base is no model folder"),
    "base changed": (
        change_base,
        "an adapter whose base model .*base has changed since; expected the model with finger",
    ),
    "base is an adapter": (lambda f: shutil.copy(f / "adapter_config.json", f.parent / "base"), "is no model folder"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "no adapter_model.safetensors"),
    "no tensor": (lambda f: change_weights(f, drop=28), "found no tensor; expected the weights of an adapter"),
    "one missing": (lambda f: change_weights(f, drop=1), "other weights than its settings ask for"),
    "one more": (lambda f: change_weights(f, more=torch.ones(2)), r"ask for \(more\); expected 28 tensors"),
    "half the weights": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:999]), "the weights of an ad"),
    "not JSON": (lambda f: (f / "adapter_config.json").write_text("{"), "a file that cannot be read"),
    "a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "found a list; expected an object in JSON"),
    "another kind": (another_kind, "an adapter of type 'IA3'; expected LORA or PROMPT_TUNING"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_adapter_is_an_error_that_names_it(name, saved):
    damage, message = UNUSABLE[name]
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        load(saved)
    assert str(caught.value).startswith(str(saved))


def test_the_fingerprint_covers_adapter_and_base(saved):
    found = [model_fingerprint(str(saved)), model_fingerprint(str(saved))]
    change_weights(saved, drop=1)
    found.append(model_fingerprint(str(saved)))
    (saved / "adapter_base.json").unlink()  # as peft itself would have written it: nobody knows what the base was
    change_base(saved)
    found.append(model_fingerprint(str(saved)))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_an_adapter_that_peft_wrote_is_loaded(bases, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(bases / "llama", local_files_only=True)
    peft = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)).eval()
    peft.save_pretrained(tmp_path / "adapter")
    model = load(tmp_path / "adapter")
    assert model.codec.prompt_ids("cat")[:2] == [320, 321]
    ids = draw_ids(3, 6)
    with torch.no_grad():
        expected = peft(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -4:-1]
    found = logits(model, Pack(64, [plain_segment(0, [320, 321, *ids], 3)]))
    assert torch.allclose(found, expected, atol=1e-5)


def test_an_empty_adapter_is_not_saved(bases, tmp_path, monkeypatch):
    model = adapted(bases / "llama", LORA)
    for state in ({}, {"a": torch.zeros(0), "b": torch.ones(2)}):
        monkeypatch.setattr(HuggingFaceModel, "state", lambda self, dtype=None, state=state: state)
        with pytest.raises(ModelError, match=r"found an adapter without weights; .* Gather sharded weights"):
            save_model(model, tmp_path / "adapter")


def test_weights_that_the_disk_changed_are_an_error(bases, tmp_path, monkeypatch):
    model = adapted(bases / "llama", LORA)
    save = adapters.save_file
    flawed = lambda tensors, *args, **more: save({n: t + 1e-6 for n, t in tensors.items()}, *args, **more)  # noqa: E731
    monkeypatch.setattr(adapters, "save_file", flawed)
    with pytest.raises(ModelError, match="weights that changed on the disk"):
        save_model(model, tmp_path / "adapter")


def test_where_an_adapter_cannot_be_put(bases, saved):
    with pytest.raises(ModelError, match="found a base model without a folder"):
        add_adapter(toy_model("llama"), LORA, 0)
    with pytest.raises(ModelError, match=r"found a model that has an adapter already; .* tuning then goes on with"):
        add_adapter(load(saved), LORA, 0)
    with pytest.raises(ModelError, match=r"model.adapter: found Target modules .*nonesuch"):
        add_adapter(load(bases / "llama"), LoraSettings(targets=("nonesuch",)), 0)
