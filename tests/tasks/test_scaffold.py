import pytest
import yaml

from openflan.errors import CatalogError, DataError
from openflan.tasks.catalog import load_catalog, places_to_fill
from openflan.tasks.scaffold import card_text, columns_of, guess

SOURCE = {"splits": {"train": "train", "test": "validation"}}


def guessed(*rows, repeat=1):
    rows = list(rows) * repeat
    return guess(rows, columns_of(rows, "rows"))


def text(*rows, repeat=1):
    return card_text("mood", SOURCE, guessed(*rows, repeat=repeat), "4 rows of mood.csv", ["sentiment", "coreference"])


LABELLED = ({"note": "Rain again.", "label": 0}, {"note": "Sun at last!", "label": 1})


def test_numbers_of_few_values_are_labels_whose_words_are_to_be_written():
    found = guessed(*LABELLED, repeat=2)
    assert found.answer == {
        "kind": "choice",
        "options": ["<fill in: what 0 means>", "<fill in: what 1 means>"],
        "gold": "label",
    }
    assert (found.fields, found.metric) == ({"note": "note"}, "accuracy")


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ((True, False), {"options": ["no", "yes"], "gold": "label"}),
        (("glad", "bad"), {"options": ["bad", "glad"], "gold": "label", "gold_values": ["bad", "glad"]}),
        (
            (1, 5),
            {"options": ["<fill in: what 1 means>", "<fill in: what 5 means>"], "gold": "label", "gold_values": [1, 5]},
        ),
        ((-1, 0, 1), {"options": ["<fill in: what 0 means>", "<fill in: what 1 means>"], "gold": "label"}),
    ],
)
def test_labels_of_other_kinds(values, answer):
    found = guessed(*({"note": f"Note {v}.", "label": v} for v in values), repeat=2)
    assert found.answer == {"kind": "choice", **answer}


def test_options_of_the_row_by_their_names():
    rows = [
        {"id": 1, "q": "Which?", "choices": {"label": ["A", "B"], "text": ["a tree", "a house"]}, "answerKey": "B"},
        {"id": 2, "q": "Who?", "choices": {"label": ["A", "B"], "text": ["a cat", "a dog"]}, "answerKey": "A"},
    ]
    found = guessed(*rows)
    assert found.answer == {
        "kind": "choice",
        "options_from": ["choices.text"],
        "gold": "answerKey",
        "gold_values_from": "choices.label",
    }
    assert (found.fields, found.left_out) == ({"q": "q"}, ("id",))


def test_options_of_the_row_by_their_number_and_by_themselves():
    counted = [{"q": f"Which {i}?", "choices": ["tea", "ice", f"{i}"], "answer": i} for i in range(3)]
    assert guessed(*counted).answer == {"kind": "choice", "options_from": ["choices"], "gold": "answer"}
    named = [{**row, "answer": row["choices"][row["answer"]]} for row in counted]
    assert guessed(*named).answer == {
        "kind": "choice",
        "options_from": ["choices"],
        "gold": "answer",
        "gold_values_from": "choices",
    }


def test_options_in_numbered_columns():
    rows = [{"text": f"It {i}.", "option1": f"a{i}", "option2": f"b{i}", "answer": f"{i % 2 + 1}"} for i in range(12)]
    assert guessed(*rows).answer == {
        "kind": "choice",
        "options_from": ["option1", "option2"],
        "gold": "answer",
        "gold_values": ["1", "2"],
    }
    counted = [{**row, "answer": int(row["answer"]) - 1} for row in rows]
    assert guessed(*counted).answer == {"kind": "choice", "options_from": ["option1", "option2"], "gold": "answer"}


def test_free_text_by_its_name_or_else_the_last_column():
    rows = [{"summary": f"So much for {i}.", "article": "Long. " * 20 + str(i)} for i in range(30)]
    found = guessed(*rows)
    assert (found.answer, found.metric) == ({"kind": "text", "references": "summary"}, "exact_match")
    rows = [{"first": f"a {i}", "second": f"b c d e f g {i}"} for i in range(30)]
    found = guessed(*rows)
    assert (found.answer["references"], found.metric) == ("second", "rougeL")
    rows = [{"q": f"Why {i}?", "answers": {"text": [f"{i}"], "start": [i]}} for i in range(30)]
    assert guessed(*rows).answer["references"] == "answers.text"


def test_names_of_fields_are_names_that_templates_can_use():
    rows = [
        {"Note Text": f"n{i}", "a.text": f"t{i}", "options": f"o{i}", "9": f"p{i}", "label": i % 2} for i in range(30)
    ]
    assert guessed(*rows).fields == {
        "note_text": "Note Text",
        "text": "a.text",
        "options_field": "options",
        "field_9": "9",
    }


def test_no_rows_and_no_columns_are_told():
    with pytest.raises(DataError, match="no rows"):
        columns_of([], "mood.csv")
    with pytest.raises(DataError, match="no column of texts, numbers or lists of them"):
        columns_of([{"a": None}], "mood.csv")


def test_the_card_tells_what_is_left_and_loads_when_it_is_filled_in(tmp_path):
    path = tmp_path / "mood.yaml"
    path.write_text(text(*LABELLED, repeat=2))
    with pytest.raises(CatalogError) as caught:
        load_catalog([path])
    assert str(caught.value) == (
        f"{path}: found 6 places that are still to fill in: cluster, answer.options.0, answer.options.1, licence, "
        "samples, templates.0.input; expected none with '<fill in'. Write what each of them asks for."
    )
    content = path.read_text()
    for place, words in (
        ('"<fill in: one of sentiment, coreference>"', "sentiment"),
        ('"<fill in: what 0 means>"', "gloomy"),
        ('"<fill in: what 1 means>"', "cheerful"),
        ('"<fill in: the licence of the rows>"', "CC0-1.0"),
        ('samples: "<fill in: rows in the form below>"\n#  - {note: "...", label: "..."}', None),
        ("<fill in: what is asked, in words of your own>", "Which mood is this?"),
    ):
        assert content.count(place) == 1, place
        content = content.replace(
            place, words or 'samples:\n  - {note: "Rain.", label: 0}\n  - {note: "Sun!", label: 1}'
        )
    path.write_text(content)
    task = load_catalog([path]).task("mood")
    assert task.templates[0].input == "{{ note }}\n\nWhich mood is this?\n\n{{ options_block }}"
    assert task.card.samples == ({"note": "Rain.", "label": 0}, {"note": "Sun!", "label": 1})


def test_no_row_is_copied_into_the_card():
    rows = [
        {"note": f"Secret note {i}.", "words": ["secret", str(i)], "reply": f"Secret reply {i}."} for i in range(30)
    ]
    card = text(*rows)
    assert "ecret" not in card
    assert yaml.safe_load(card)["templates"][0]["input"].startswith("{{ note }}\n{{ words | join(', ') }}\n")


def test_places_are_found_wherever_they_are():
    value = {"a": ["x", {"b": "y <fill in: z>"}], "c": "<fill in: d>", "e": 1}
    assert list(places_to_fill(value)) == ["a.1.b", "c"]


def test_what_keeps_a_column_from_being_used_is_told():
    rows = [{"text": "a", "messages": [{"role": "user"}]}, {"text": None, "messages": []}]
    with pytest.raises(DataError, match=r"lists of them: text has nulls, messages has lists of objects; expected"):
        columns_of(rows, "rows")
