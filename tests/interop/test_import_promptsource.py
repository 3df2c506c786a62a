"""A templates.yaml of our own writing, in promptsource's form, and the cards that come of it."""

import pytest
import yaml

from openflan.errors import CatalogError, DataError
from openflan.interop.import_promptsource import import_promptsource
from openflan.tasks.adapt import adapt
from openflan.tasks.catalog import load_catalog
from openflan.templates.lint import lint
from openflan.templates.render import render

FILE = """\
dataset: harbours/tide_notes
subset: short
templates:
  1a: !Template
    answer_choices: calm ||| rough
    id: 1a
    jinja: |-
      {{note}}
      How is the sea?
      ||| {{ answer_choices[label] }}
    metadata: !TemplateMetadata
      choices_in_prompt: false
      languages: [en]
      metrics: [Accuracy]
      original_task: true
    name: How is the sea?
    reference: ''
  1b: !Template
    answer_choices: calm ||| rough
    jinja: "Harbour {{place}}. {{note}}  Choose {{ answer_choices | join(' or ') }}.\\nSea:|||
      {% if label != -1 %}{{ answer_choices[label] }}{% endif %}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: choose
  1c: !Template
    answer_choices: calm ||| rough
    jinja: "Is the sea {{ answer_choices[label] }}? {{ note }} ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: shows the gold
  1d: !Template
    answer_choices: "no ||| yes"
    jinja: "{{note}} Is a storm near? ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: storm
  1e: !Template
    answer_choices: calm ||| rough
    jinja: "Write a harbour's note about a sea that is {{ answer_choices[label] }}. ||| {{ note }}"
    metadata: !TemplateMetadata {original_task: false, metrics: [Other]}
    name: write
  1f: !Template
    answer_choices: calm ||| rough
    jinja: "{% set n = note[0] %}{{ n }} Sea? ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: sets
  20: !Template
    answer_choices: null
    jinja: "{{ note }} Which place is this? ||| It is {{ places[0] }}."
    metadata: !TemplateMetadata {original_task: true, metrics: [ROUGE]}
    name: place
  21: !Template
    answer_choices: null
    jinja: no bar at all
    metadata: !TemplateMetadata {original_task: true}
    name: place
  22: !Template
    answer_choices: "{{ first }} ||| {{ second }}"
    jinja: "{{ note }} Which follows? ||| {{ [first, second][next] }}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: follows
  23: !Template
    answer_choices: calm ||| rough
    jinja: "{{ note }} Sea? ||| {{ answer_choices[label + 1] }}"
    metadata: !TemplateMetadata {original_task: true, metrics: [Accuracy]}
    name: computed
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory, catalog):
    folder = tmp_path_factory.mktemp("promptsource")
    (folder / "templates.yaml").write_text(FILE)
    return import_promptsource(folder / "templates.yaml", folder / "cards", catalog, cluster="sentiment")


def test_every_template_is_told_of(imported):
    assert [(note.template, note.result, note.reason) for note in imported.notes] == [
        ("how-is-the-sea", "changed", "options listed"),
        ("choose", "carried over", ""),
        ("choose", "warning", "stray space: 'Harbour p…e. n…e  Choose calm or rough'"),
        ("shows-the-gold", "left out", "the gold in the prompt"),
        ("storm", "changed", "options listed"),
        ("write", "changed", "another task of the dataset: an inverted template"),
        ("sets", "left out", "the tag set"),
        ("place", "carried over", ""),
        ("place-2", "left out", "no `|||` between prompt and target"),
        ("follows", "changed", "options listed"),
        ("computed", "left out", "its target names the option in a way that a card has no word for: label + 1"),
    ]


def test_one_card_for_each_way_of_answering_and_all_pass_the_check(imported):
    names = [path.stem for path in imported.cards]
    assert names == ["tide_notes_short", "tide_notes_short_2", "tide_notes_short_3", "tide_notes_short_4"]
    catalog = load_catalog(imported.cards)
    for name in names:
        task = catalog.task(name)
        examples, dropped = adapt(task, task.samples, "samples")
        assert ([f for f in lint(task, examples) if not f.is_warning], dropped) == ([], {})
        assert (task.family, task.dataset, task.cluster) == ("tide_notes_short", "tide_notes_short", "sentiment")
        assert (task.source.hub, task.source.config) == ("harbours/tide_notes", "short")


def test_the_prompts_say_what_the_file_says(imported):
    catalog = load_catalog(imported.cards)
    tasks = {t.id: task for task in catalog.tasks.values() if task.collection == "user" for t in task.templates}
    rows = {
        "how-is-the-sea": {"note": "No wind.", "label": 1},
        "choose": {"note": "No wind.", "place": "Orm", "label": 0},
        "write": {"note": "No wind.", "label": 1},
        "place": {"note": "No wind.", "places": ["Orm", "Elm"]},
        "storm": {"note": "No wind.", "label": 0},
    }
    prompts = {}
    for name, row in rows.items():
        columns = {column: "x" for column in tasks[name].card.fields.values()}
        (example,), _ = adapt(tasks[name], [columns | row], "test")
        template = next(t for t in tasks[name].templates if t.id == name)
        prompt = render(example, tasks[name], template, show_options=name != "choose")
        prompts[name] = prompt.input, prompt.target
    assert prompts == {
        "how-is-the-sea": ("No wind.\nHow is the sea?\n\nOPTIONS:\n- calm\n- rough", "rough"),
        "choose": ("Harbour Orm. No wind.  Choose calm or rough.\nSea:", "calm"),
        "write": ("Write a harbour's note about a sea that is rough.", "No wind."),
        "place": ("No wind. Which place is this?", "It is Orm."),
        "storm": ("No wind. Is a storm near?\n\nOPTIONS:\n- no\n- yes", "no"),
    }
    assert tasks["choose"].card.drop_if == {"label": (-1,)}
    assert tasks["place"].metrics == ("rougeL",)


def test_rows_of_a_task_of_ours_are_of_its_family(tmp_path, catalog):
    text = FILE.replace("harbours/tide_notes", "glue").replace("subset: short", "subset: rte")
    (tmp_path / "templates.yaml").write_text(text)
    found = import_promptsource(tmp_path / "templates.yaml", tmp_path, catalog, cluster="sentiment", name="other_rte")
    assert load_catalog(found.cards).task("other_rte").family == "rte"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("templates: {a: !Template {jinja: 'x ||| y'}}", "the keys templates; expected `dataset` and `templates`"),
        (
            "dataset: !!python/object/apply:os.getcwd []",
            "the tag tag:yaml.org,2002:python/object/apply:os.getcwd, line 1",
        ),
        ("dataset: &a x\ntemplates: *a", "an alias (*name) of more than a small mapping, line 2"),
        (f"dataset: &a {{b: [{'x, ' * 200}]}}\ntemplates: *a", "an alias (*name) of more than a small mapping, line 2"),
        ("- a", "a list; expected a mapping"),
    ],
)
def test_a_file_that_is_none_of_promptsource(tmp_path, catalog, text, part):
    (tmp_path / "templates.yaml").write_text(text)
    with pytest.raises(DataError) as error:
        import_promptsource(tmp_path / "templates.yaml", tmp_path, catalog, cluster="sentiment")
    assert part in str(error.value)


class _Template(yaml.YAMLObject):
    yaml_tag = "!Template"


class _Metadata(yaml.YAMLObject):
    yaml_tag = "!TemplateMetadata"


def test_an_object_that_pyyaml_wrote_once_and_named_twice(tmp_path, catalog):
    metadata = _Metadata()
    metadata.original_task = True
    templates = {}
    for name in ("one", "two"):
        templates[name] = template = _Template()
        template.name, template.metadata, template.answer_choices = name, metadata, None
        template.jinja = f"{name}: {{{{ note }}}} ||| {{{{ sea }}}}"
    text = yaml.dump({"dataset": "tides", "templates": templates})
    assert "*id001" in text
    (tmp_path / "templates.yaml").write_text(text)
    found = import_promptsource(tmp_path / "templates.yaml", tmp_path, catalog, cluster="sentiment")
    assert [(note.template, note.result) for note in found.notes] == [("one", "carried over"), ("two", "carried over")]


def test_the_second_card_fails_and_the_first_is_not_written(tmp_path, catalog):
    (tmp_path / "templates.yaml").write_text(FILE)
    (tmp_path / "tide_notes_short_3.yaml").write_text("mine")
    with pytest.raises(CatalogError, match=r"tide_notes_short_3\.yaml: found a file that is there already"):
        import_promptsource(tmp_path / "templates.yaml", tmp_path, catalog, cluster="sentiment")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["templates.yaml", "tide_notes_short_3.yaml"]


def test_nothing_is_overwritten_and_a_taken_name_is_refused(tmp_path, catalog):
    (tmp_path / "templates.yaml").write_text(FILE)
    (tmp_path / "mine.yaml").write_text("mine")
    for name, part in (("mine", "a file that is there already"), ("rte", "the name 'rte'")):
        with pytest.raises(CatalogError, match=part):
            import_promptsource(tmp_path / "templates.yaml", tmp_path, catalog, cluster="sentiment", name=name)
    assert (tmp_path / "mine.yaml").read_text() == "mine"
