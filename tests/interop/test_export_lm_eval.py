"""What the export writes, and the Python file that keeps the harness to our boundary rule, with stand-ins for it.

The harness itself is no dependency: `benchmarks/lm_eval_parity.py` runs it and compares every log-prob.
"""

import json
import sys
import types
from pathlib import Path

import pytest
import yaml

from openflan.errors import CatalogError, ConfigError, DataError
from openflan.evaluation.metrics import credit
from openflan.evaluation.predictions import Prediction
from openflan.interop.export_lm_eval import TEXT_METRICS, export_lm_eval, wordings_to_export
from openflan.models.tokenizer import codec_of
from openflan.templates.render import render
from openflan.tokens.encode import Lengths
from toys import choice_example, text_example, toy_task, toy_tokenizer


class PlainLoader(yaml.SafeLoader):
    """Reads `!function` as its text."""


PlainLoader.add_constructor("!function", lambda loader, node: node.value)


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_choice_task(tmp_path):
    task = toy_task()
    examples = [choice_example(i, f"Text {i}.", ("yes", "no"), gold=i) for i in range(2)]
    first, second = export_lm_eval(tmp_path, task, task.scored_templates, examples)
    assert (first.name, first.num_prompts, first.num_cut, first.num_left_out) == ("openflan_mood__after", 2, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "openflan_mood__after.jsonl",
        "openflan_mood__after.yaml",
        "openflan_mood__before.jsonl",
        "openflan_mood__before.yaml",
        "openflan_task.py",
    ]
    config = yaml.load(first.path.read_text(), Loader=PlainLoader)
    assert config == {
        "class": "openflan_task.OpenFlanTask",
        "target_delimiter": "\n",
        "task": "openflan_mood__after",
        "tag": "openflan_mood",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": "openflan_mood__after.jsonl"},
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "multiple_choice",
        "doc_to_text": "input",
        "doc_to_target": "gold",
        "doc_to_choice": "options",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1, "task": "mood", "template": "after", "style": "instruction"},
    }
    assert read_rows(first.path.with_suffix(".jsonl")) == [
        {
            "uid": f"mood/test/{i}",
            "input": f"Read this: Text {i}. What is right?\n\nOPTIONS:\n- yes\n- no",
            "options": ["yes", "no"],
            "gold": i,
        }
        for i in range(2)
    ]
    assert read_rows(second.path.with_suffix(".jsonl"))[0]["input"] == "What is right? Text 0."


def test_a_text_task_with_what_ends_an_answer_and_the_metrics_that_are_missing(tmp_path):
    metrics = ["exact_match", "drop_f1"]
    task = toy_task("name", "text", metrics=metrics, stop=["\n", "Q:"], max_new_tokens=7)
    (first,) = export_lm_eval(tmp_path, task, task.templates[:1], [text_example(0, "A text.", ("Ann", "Anna"))])
    assert first.metrics_left_out == ("drop_f1",)
    config = yaml.load(first.path.read_text(), Loader=PlainLoader)
    assert config["generation_kwargs"] == {"until": ["\n", "Q:"], "max_gen_toks": 7, "do_sample": False}
    assert [entry["metric"] for entry in config["metric_list"]] == ["exact_match"]
    (row,) = read_rows(first.path.with_suffix(".jsonl"))
    assert (row["uid"], row["references"]) == ("name/test/0", ["Ann", "Anna"])


def test_metrics_that_read_words_are_left_out_where_words_are_not_latin(tmp_path):
    task = toy_task("name", "text", metrics=["rougeL", "exact_match"])
    (first,) = export_lm_eval(tmp_path, task, task.templates[:1], [text_example(0, "A text.", ("安娜",))])
    assert first.metrics_left_out == ("rougeL",)


def test_styles_and_the_options_block(tmp_path):
    task = toy_task()
    examples = [choice_example(0, "Text.", ("yes", "no"))]
    for style, show, prompt in (
        ("instruction", False, "Read this: Text. What is right?"),
        ("no_template", True, "Text."),
        ("dataset_name", True, "[mood] Text."),
    ):
        (one,) = export_lm_eval(tmp_path, task, task.templates[:1], examples, style=style, show_options=show)
        assert read_rows(one.path.with_suffix(".jsonl"))[0]["input"] == prompt


def test_prompts_are_cut_as_in_evaluating_and_those_that_do_not_fit_are_counted(tmp_path):
    task = toy_task()
    codec = codec_of(toy_tokenizer(), Path("toy"))
    examples = [
        choice_example(0, "The cat sat.", ("yes", "no")),
        choice_example(1, "The cat sat on the mat. " * 40, ("yes", "no")),
        choice_example(2, "The cat sat.", ("yes", "the cat sat on the mat " * 40)),
    ]
    (one,) = export_lm_eval(tmp_path, task, task.templates[:1], examples, limits=(codec, Lengths(128, 64)))
    assert (one.num_prompts, one.num_cut, one.num_left_out) == (2, 1, 1)
    rows = read_rows(one.path.with_suffix(".jsonl"))
    assert [row["uid"] for row in rows] == ["mood/test/0", "mood/test/1"]
    assert rows[0]["input"] == render(examples[0], task, task.templates[0]).input
    assert len(codec.encode(rows[1]["input"] + "\n")) <= 128
    with pytest.raises(DataError, match="no prompt of 1 rows"):
        export_lm_eval(tmp_path, task, task.templates[:1], examples[2:], limits=(codec, Lengths(128, 64)))


@pytest.mark.parametrize("separator", ["<eos>", ""])
def test_a_separator_that_is_no_text_is_refused(tmp_path, separator):
    with pytest.raises(ConfigError, match="expected a text between prompt and target"):
        export_lm_eval(tmp_path, toy_task(), [], [], separator=separator)
    assert list(tmp_path.iterdir()) == []


def test_the_wordings_that_are_exported():
    task = toy_task(completion={"input": "{{ text }}"})
    assert [t.id for t in wordings_to_export(task, [])] == ["after", "before"]
    assert [t.id for t in wordings_to_export(task, ["completion", "before"])] == ["completion", "before"]
    with pytest.raises(CatalogError, match="the inverted template 'invent'"):
        wordings_to_export(task, ["invent"])
    with pytest.raises(CatalogError, match=r"no template 'afer'.*Did you mean after"):
        wordings_to_export(task, ["afer"])


class Together:
    """Stands in for the harness's `TemplateLM`. Its tokenizer joins a question mark with the line break after it."""

    def tok_encode(self, text: str, add_special_tokens: bool | None = None) -> list[str]:
        bos = ["<s>"] if add_special_tokens is None else []
        return bos + list(text.replace("?\n", "!"))

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[str], list[str]]:
        left = context.rstrip()
        whole, before = self.tok_encode(context + continuation), self.tok_encode(left)
        return before, whole[len(before) :]


class Base:
    """Stands in for the harness's `ConfigurableTask`."""

    def __init__(self, config: dict) -> None:
        self.config = types.SimpleNamespace(**config)
        self.OUTPUT_TYPE = config["output_type"]
        self.download(config["dataset_kwargs"])

    def construct_requests(self, doc: dict, ctx: str, **kwargs: object) -> str:
        return ctx


@pytest.fixture
def harness(tmp_path, monkeypatch):
    """The exported Python file, loaded beside a task with stand-ins for the libraries that it imports."""
    task = toy_task()
    export_lm_eval(tmp_path, task, task.templates[:1], [choice_example(0, "Text.\u2028", ("yes", "no"), gold=1)])
    monkeypatch.setattr(Together, "_encode_pair", Together._encode_pair)  # undone after the test
    rows = types.SimpleNamespace(from_list=list)
    request = type("Instance", (), {"__init__": lambda self, *args, **kwargs: vars(self).update(args=args, **kwargs)})
    stands_in = {
        "datasets": {"Dataset": rows},
        "lm_eval.api.instance": {"Instance": request},
        "lm_eval.api.model": {"TemplateLM": Together},
        "lm_eval.api.task": {"ConfigurableTask": Base},
    }
    for name in ("lm_eval", "lm_eval.api"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, content in stands_in.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    module = types.ModuleType("openflan_task")
    module.__file__ = str(tmp_path / "openflan_task.py")
    exec((tmp_path / "openflan_task.py").read_text(), vars(module))
    return module


def load(harness) -> object:
    path = Path(harness.__file__).with_name("openflan_mood__after.yaml")
    return harness.OpenFlanTask(yaml.load(path.read_text(), Loader=PlainLoader))


def test_prompt_and_option_are_encoded_apart_and_others_as_before(harness):
    task = load(harness)
    (doc,) = task.dataset["test"]
    yes, no = task.construct_requests(doc, "So?", metadata=("a", 0, 1), chat_template=None)
    assert (yes.args[0], yes.metadata) == ("loglikelihood", ("a", 0, 1))
    context, continuation = no.args[2]
    assert (str(context), continuation) == ("So?\n", "no")
    assert Together()._encode_pair(context, continuation) == (["<s>", "S", "o", "?", "\n"], ["n", "o"])
    assert Together()._encode_pair("So?\n", "no") == (["<s>", "S", "o", "?"], ["n", "o"])  # the line break is lost
    with pytest.raises(TypeError, match="the log-probs would differ"):
        context.rstrip()
    with pytest.raises(ValueError, match="without a chat template"):
        task.construct_requests(doc, "So?", apply_chat_template=True)
    task.OUTPUT_TYPE = "generate_until"
    assert task.construct_requests(doc, "So?") == "So?\n"


def test_accuracy_shares_the_credit_of_ties_as_ours_does(harness):
    for logprobs, gold, accuracy in (([-1.0, -2.0], 0, 1.0), ([-1.0, -2.0], 1, 0.0), ([-1.0, -1.0, -3.0], 1, 0.5)):
        results = [(logprob, False) for logprob in logprobs]
        ones = (1,) * len(logprobs)
        ours = Prediction("u", "t", "p", gold, tuple(logprobs), ones, ones, None, ())
        assert harness.choice_scores({"gold": gold}, results) == {"acc": accuracy}
        assert credit(ours, "accuracy") == accuracy


def test_text_metrics_are_ours(harness):
    names = list(harness.TEXT_METRICS)
    assert (*names, "bleu") == TEXT_METRICS
    for text, references in (
        ("The  Eiffel Tower!", ["eiffel tower", "a tower"]),
        ("the", ["a"]),
        ("", ["A", "?"]),
        ("a.", ["A"]),
        (" 12 ", ["12", "-12"]),
        ("he ran to the old mill", ["she ran to a mill", "nobody"]),
        ("", ["something"]),
    ):
        found = harness.text_scores(names, {"references": references}, [text])
        ours = Prediction("u", "t", "p", None, (), (), (), text, tuple(references))
        assert found == pytest.approx({name: credit(ours, name) for name in names})
    assert harness.text_scores(["bleu"], {"references": ["a b"]}, [" a\n"]) == {"bleu": (["a b"], "a")}
