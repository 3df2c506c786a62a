"""Files of other projects: a card that loads, or one clear error; never a half-written folder."""

import itertools
import json
from functools import cache

from hypothesis import strategies as st

from fuzz.mutate import fuzz, json_files, only_openflan_errors, yaml_files
from openflan.interop.import_lm_eval import import_lm_eval
from openflan.interop.import_natural_instructions import import_natural_instructions
from openflan.interop.import_promptsource import import_promptsource
from openflan.interop.new_card import Imported
from openflan.tasks.adapt import load_examples
from openflan.tasks.catalog import Catalog, _load_card, load_catalog

TASK = {
    "task": "tides",
    "dataset_path": "harbours/tides",
    "dataset_name": "short",
    "output_type": "multiple_choice",
    "test_split": "test",
    "description": "About the sea.",
    "doc_to_text": "Note: {{note.strip()}}\nAnswer:",
    "doc_to_choice": ["ebb", "flood"],
    "doc_to_target": "{{['A', 'B'].index(key)}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean"}, {"metric": "f1"}],
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False},
    "filter_list": [{"name": "x", "filter": [{"function": "regex", "regex_pattern": "a"}]}],
    "num_fewshot": 2,
}
GROUP = {
    "group": "all_tides",
    "task": ["tides", {"task": "tides", "dataset_name": "long"}, {"group": "inner", "task": ["tides", "none"]}],
    "aggregate_metric_list": [{"metric": "acc"}],
}
WORDING = {
    "name": "how",
    "jinja": "{{note}} Sea? ||| {{ answer_choices[label] }}",
    "answer_choices": "calm ||| rough",
    "metadata": {"original_task": True, "choices_in_prompt": False, "metrics": ["Accuracy"]},
}
TURNED = {
    **WORDING,
    "name": "write",
    "jinja": "Say {{ answer_choices[label] }}. ||| {{ note }}",
    "metadata": {"original_task": False},
}
TEMPLATES = {"dataset": "harbours/tides", "subset": "short", "templates": {"a": WORDING, "b": TURNED}}
INSTRUCTIONS = {
    "Definition": ["Say how the sea is."],
    "Source": ["rte"],
    "Instance License": ["CC0"],
    "Positive Examples": [{"input": "No wind.", "output": "calm"}],
    "Negative Examples": [],
    "Instances": [{"input": f"Note {i}.", "output": [("calm", "rough")[i % 2]]} for i in range(12)],
}
PIECES = (
    *(
        "{{ note }}",
        "{{note",
        "}}",
        "{{ label }}",
        "{% if label == 1 %}",
        "{% elif note %}",
        "{% else %}",
        "{% endif %}",
    ),
    *("{% for n in notes %}", "{{ n }}", "{{ loop.index }}", "{% endfor %}", "{% set a = note %}", "{{ a.b['c'][0] }}"),
    *("|||", "\n", "  ", "Sea?", "{{ answer_choices[label] }}", "{{ answer_choices[:-1] | join(', ') }}", "{# a #}"),
    *("{{ answer_choices[0] }}", "{{ [a, b][label | int] }}", "{{ ['x', 'y'].index(key) }}", "{{ note | lower }}"),
    *("{{ notes | join }}", "{{ 'a' ~ note }}", "{{ {'a': 0, 'b': 1}[key] }}", "{{ 1 if note else 2 }}", "{{ a + b }}"),
    *("{{ -label }}", "{{ note[:5] }}", "{{ range(9) }}", "{% raw %}", "{{ " + "(" * 400, "{{ a" + ".b" * 3000 + " }}"),
    *("{{ " + "not " * 600 + "a }}", "{% if a %}" * 120 + "x" + "{% endif %}" * 120, "{{ a" + "[0]" * 500 + " }}"),
    *("{{ note * 10000000 }}", "{{ 'a' * 99999999999 }}", "{{ 10 ** 10 ** 10 }}", "\ud83d", "\x00", "a" * 5000),
)
JINJA = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


@cache
def _catalog() -> Catalog:
    return load_catalog()


_numbers = itertools.count()


def _imports(form, tmp_path, name, content, beside=None):
    """Each input has a folder of its own. What an import wrote must load, and all of it or nothing is there."""
    folder = tmp_path / str(next(_numbers))
    folder.mkdir()
    (folder / name).write_bytes(content)
    if beside is not None:
        (folder / "beside.yaml").write_bytes(_json(beside))

    def check() -> Imported:
        found = form(folder / name, folder / "cards", _catalog(), cluster="sentiment")
        for path in found.cards:
            for task in _load_card(path, "user", _catalog().clusters):
                load_examples(task, "samples")
        return found

    found = only_openflan_errors(check)
    written = sorted(folder.glob("cards/*.yaml"))
    assert written == (sorted(found.cards) if isinstance(found, Imported) else [])


def _json(value) -> bytes:
    return json.dumps(value).encode()


@fuzz(yaml_files(TASK), share=0.5)
def test_lm_eval(tmp_path, content):
    _imports(import_lm_eval, tmp_path, "task.yaml", content)


@fuzz(JINJA, JINJA, st.sampled_from((["a", "b"], "{{ [a, b] }}", "notes", None)), share=0.5)
def test_lm_eval_jinja(tmp_path, text, target, choices):
    task = TASK | {"doc_to_text": text, "doc_to_target": target, "doc_to_choice": choices}
    task |= {"output_type": "multiple_choice" if choices else "generate_until"}
    _imports(import_lm_eval, tmp_path, "task.yaml", _json(task))


@fuzz(yaml_files(GROUP), share=0.5)
def test_lm_eval_group(tmp_path, content):
    _imports(import_lm_eval, tmp_path, "group.yaml", content, beside=TASK)


@fuzz(yaml_files(TEMPLATES), share=0.5)
def test_promptsource(tmp_path, content):
    _imports(import_promptsource, tmp_path, "templates.yaml", content)


@fuzz(
    JINJA, JINJA, st.one_of(JINJA, st.sampled_from(("a ||| b", "{{ a }} ||| {{ b }}", None))), st.booleans(), share=0.4
)
def test_promptsource_jinja(tmp_path, prompt, target, choices, is_original):
    other = {
        "name": "x",
        "jinja": f"{prompt}|||{target}",
        "answer_choices": choices,
        "metadata": {"original_task": is_original},
    }
    value = {"dataset": "tides", "templates": {"a": WORDING, "b": other, "c": {**other, "jinja": prompt + target}}}
    _imports(import_promptsource, tmp_path, "templates.yaml", _json(value))


@fuzz(json_files(INSTRUCTIONS), share=0.5)
def test_natural_instructions(tmp_path, content):
    _imports(import_natural_instructions, tmp_path, "task.json", content)
