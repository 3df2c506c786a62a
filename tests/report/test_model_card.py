"""The card of a tuned model: literal content, nothing injected, and its program works on a folder."""

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model

from openflan import files
from openflan.errors import RunError
from openflan.finished import finish, signed
from openflan.report.model_card import Manifest, example_code, model_card, read_manifest, write_model_card
from openflan.tasks.catalog import Task, load_catalog
from toys import toy_task, toy_tokenizer, toy_weights

CONFIG: dict[str, Any] = {
    "name": "my_study",
    "held_out": ["sentiment"],
    "data": {"root": "/home/somebody/rows", "cards": [], "collection": "flan"},
    "model": {"path": "/models/small", "separator": "\n", "max_input_tokens": 1024, "max_target_tokens": 20},
    "mixture": {"num_examples": 40, "style": "instruction"},
    "train": {
        "optimizer": "adafactor",
        "learning_rate": 3e-5,
        "schedule": "constant",
        "loss": "token_mean",
        "pack_tokens": 1024,
        "packs_per_update": 8,
    },
}
RTE = {
    "cluster": "natural_language_inference",
    "requested_share": 0.75,
    "achieved_share": 0.7512,
    "num_rows_available": 2290,
    "num_rows_used": 30,
    "num_examples": 30,
}
PLAN: dict[str, Any] = {
    "held_out": "sentiment",
    "fingerprint": "0123456789abcdef",
    "excluded": {"sst2": "its cluster, sentiment, is held out"},
    "overlap": {"action": "remove", "num_rows": 0},
    "num_rows_dropped": {"rte/train": {"no label": 3}},
    "evaluated": {"sst2": 872},
    "tasks": {
        "rte": RTE,
        "trec": {**RTE, "cluster": "miscellaneous", "requested_share": 0.25, "num_examples": 10},
        "wic": {**RTE, "cluster": "miscellaneous", "requested_share": 0.0, "num_examples": 0},
    },
}
MANIFEST = Manifest(
    kind="tuned",
    run={"fingerprint": "fedcba9876543210", "config": CONFIG},
    plan=PLAN,
    environment={"openflan": "0.1", "python": "3.12.1", "packages": {"torch": "2.13.0", "transformers": "5.0"}},
    totals={
        "num_predictions": 9,
        "num_updates": 2,
        "num_supervised": 12345,
        "num_dropped_too_long": 0,
        "num_with_cut_field": 4,
        "dropped_by_task": {"rte": {"target": 2}, "trec": {"target": 0}},
    },
    log=({"update": 0, "loss": 2.0}, {"update": 1, "loss": 1.5}),
)


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return load_catalog().tasks


def changed(**parts: dict[str, Any]) -> Manifest:
    """The manifest with some keys of `plan`, or of a group of the recipe, replaced."""
    plan = {**PLAN, **parts.pop("plan", {})}
    config = {**CONFIG, **{name: {**CONFIG[name], **part} for name, part in parts.items()}}
    return replace(MANIFEST, plan=plan, run={**MANIFEST.run, "config": config})


def test_what_a_card_says(tasks):
    text = model_card(MANIFEST, tasks)
    for line in (
        "# my\\_study: tuned without sentiment",
        "| `rte` | natural language inference | 75.0 | 75.1 | 30 of 2,290 | 30 "
        "| unknown \\(PASCAL RTE challenges, distributed with SuperGLUE for research\\) |",
        "| `sst2` | its cluster, sentiment, is held out |",
        "No training rows show texts of held-out rows.",
        "- Trained: all weights, with adafactor at a learning rate of 3e-05, constant; 8,192 tokens an update.",
        "- Loss: cross-entropy on the tokens of the answer and what ends it; its mean over all supervised tokens of an "
        "update.",
        "- Updates: 2; mean loss of the last 2: 1.7500.",
        "- Supervised: 12,345.",
        "- Dropped too long: 0.",
        "- With cut field: 4.",
        "- Dropped by task: rte (target (2)).",
        "- Rows of `rte/train` that did not become examples: 3 no label.",
    ):
        assert line in text.splitlines()
    assert "Between prompt and answer stands `'\\n'`." in text
    assert "OpenFLAN 0.1 on Python 3.12.1 with torch 2.13.0, transformers 5.0." in text
    assert "plan: `0123456789abcdef`; of the run: `fedcba9876543210`" in text
    assert "evaluated on `sst2` (872 rows)" in text
    assert "wic" not in text
    assert "instruction-tuned on 2 datasets" in text
    assert "somebody" not in text
    assert "None" not in text
    recipe = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)[0])
    assert recipe == {**CONFIG, "data": {**CONFIG["data"], "root": None}}


def test_the_hub_reads_its_front_matter(tasks):
    data = ModelCard(model_card(MANIFEST, tasks)).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["openflan", "flan", "instruction-tuning"],
        "datasets": sorted({tasks["rte"].source.hub, tasks["trec"].source.hub}),
    }
    cached = changed(model={"path": "/x/hub/models--org--a-model/snapshots/12ab", "adapter": {"kind": "prompt_tuning"}})
    data = ModelCard(model_card(cached, tasks)).data.to_dict()
    assert (data["library_name"], data["base_model"], data["tags"][-1]) == ("peft", "org/a-model", "prompt-tuning")


def test_rows_that_were_allowed_stand_at_the_top(tasks):
    overlap = {"action": "allow", "num_rows": 2, "reason": "they are\n# greetings", "rows": ["rte/train/1"]}
    text = model_card(changed(plan={"overlap": overlap}), tasks)
    told = "2 training rows show texts of held-out rows"
    assert (
        f"> **Not held out by text.** {told} and were allowed to. The reason that was given: they are \\# greet" in text
    )
    assert text.index("Not held out by text") < text.index("## How to prompt it")
    assert f"{told}. They were trained on: they are \\# greetings" in text
    text = model_card(changed(plan={"overlap": {"action": "remove", "num_rows": 2}}), tasks)
    assert f"{told}. They were left out." in text
    assert "Not held out by text" not in text


def test_a_control_says_so(tasks):
    assert "> **A control, not for use.**" in model_card(replace(MANIFEST, kind="shuffled"), tasks)
    assert "control" not in model_card(MANIFEST, tasks)


def test_how_the_model_was_read_is_told_where_its_run_said_so(tasks):
    read = replace(MANIFEST, reading="packs under a mask, at most 128 positions")
    assert "- Model: packs under a mask, at most 128 positions.\n" in model_card(read, tasks)
    assert "- Model:" not in model_card(MANIFEST, tasks)


def test_what_datasets_and_people_write_stays_text(tasks):
    bad = '</table>|<script>alert("x")</script>\n\n# head\n[a](javascript:b) ``` `c`'
    own = toy_task("mood", licence=bad, samples=[{"text": f"{bad}\n```\n", "a": "yes", "b": "no", "label": 0}])
    manifest = changed(
        plan={
            "tasks": {"mood": {**RTE, "cluster": "miscellaneous"}},
            "excluded": {"sst2": bad},
            "overlap": {"action": "allow", "num_rows": 1, "reason": bad},
            "num_rows_dropped": {"a`b": {bad: 1}},
        },
        model={"path": f"/x/{bad}", "separator": "```\n---\n"},
    )
    text = model_card(manifest, {**tasks, "mood": own})
    prose = re.sub(r"^(`{3,})\w+\n.*?^\1$", "", text.split("---\n", 2)[2], flags=re.M | re.S)
    prose = re.sub(r"(?<!`)(`+)(?!`)(?:(?!\1).|(?<=\\)`)+?(?<!`)\1(?!`)", "", prose)  # code in a line
    assert re.findall(r"(?<!\\)<\w+|(?<!\\)\]\(|^# head", prose, re.M) == []
    assert {line.count(" | ") for line in text.splitlines() if line.startswith("| `mood`")} == {6}
    assert yaml.safe_load(text.split("---\n", 2)[1])["pipeline_tag"] == "text-generation"


@pytest.mark.parametrize("separator", ["\n", "<eos>", " => "])
def test_its_program_asks_the_model_as_it_was_trained(separator, tasks, tmp_path, monkeypatch):
    tokenizer, weights = toy_tokenizer(), toy_weights("llama")
    weights.generation_config.pad_token_id = 1
    weights.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = changed(model={"separator": separator, "max_target_tokens": 3}).run["config"]
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example_code(config, {"rte": tasks["rte"]}), names)  # the program that the card shows
    assert "\n" in names["prompt"] and "{{" not in names["prompt"]
    between = [0] if separator == "<eos>" else tokenizer.encode(separator, add_special_tokens=False)
    assert names["ids"].tolist() == [[*tokenizer.encode(names["prompt"], add_special_tokens=False), *between]]
    assert 1 <= names["answer"].shape[1] - names["ids"].shape[1] <= 3


def test_its_program_uses_the_chat_template(tasks, tmp_path, monkeypatch):
    tokenizer, weights = toy_tokenizer(), toy_weights("llama")
    weights.generation_config.pad_token_id = 1
    weights.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
    )
    (tmp_path / "chat_template.jinja").write_text(template)
    monkeypatch.chdir(tmp_path)
    config = changed(model={"chat_template": True, "max_target_tokens": 2}).run["config"]
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example_code(config, {"rte": tasks["rte"]}), names)
    assert names["text"] == f"<user>{names['prompt']}<bot>"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
def test_its_program_loads_an_adapter_on_its_base(tasks, tmp_path, monkeypatch):
    tokenizer, weights = toy_tokenizer(), toy_weights("llama")
    weights.generation_config.pad_token_id = 1
    weights.save_pretrained(tmp_path / "base")
    weights.name_or_path = str(tmp_path / "base")
    settings = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    get_peft_model(weights, settings).save_pretrained(tmp_path / "tuned", save_embedding_layers=False)
    tokenizer.save_pretrained(tmp_path / "tuned")
    monkeypatch.chdir(tmp_path / "tuned")
    config = changed(model={"adapter": {"kind": "lora"}, "max_target_tokens": 2}).run["config"]
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example_code(config, {"rte": tasks["rte"]}), names)
    assert type(names["model"]).__name__ == "PeftModelForCausalLM"
    assert names["answer"].shape[1] > names["ids"].shape[1]


def directory(tmp_path: Path) -> Path:
    job = tmp_path / "run" / "sentiment" / "tuned"
    files.write_yaml(tmp_path / "run" / files.RUN, signed(MANIFEST.run))
    files.write_json(job.parent / files.PLAN_SUMMARY, PLAN)
    facts = {"environment": MANIFEST.environment, "totals": MANIFEST.totals, "log": list(MANIFEST.log)}
    finish(job / files.MODEL, [], "", facts)
    return job / files.MODEL


def test_the_card_is_made_from_the_files_of_the_run(tmp_path, tasks):
    folder = directory(tmp_path)
    found = read_manifest(folder)
    assert replace(found, log=tuple(found.log), run=MANIFEST.run) == MANIFEST
    assert write_model_card(folder) == folder / "README.md"
    assert (folder / "README.md").read_text() == model_card(MANIFEST, tasks)


def test_a_run_that_is_not_whole(tmp_path):
    folder = directory(tmp_path)
    (folder / files.DONE).unlink()
    with pytest.raises(RunError, match="found no DONE; expected a model whose training is finished"):
        write_model_card(folder)
    (folder.parents[2] / files.RUN).write_text("[]")
    with pytest.raises(RunError, match=r"run\.yaml: found no `config`"):
        write_model_card(folder)
