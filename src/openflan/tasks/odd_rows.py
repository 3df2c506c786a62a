"""Functions from an odd row to one whose fields a card can name: questions, choices, references.

Each takes a row and returns a new one, or several. Structured data: `odd_structs`; documents: `odd_texts`.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_WIKIHOW_MARK = re.compile(r"(?:(?<!\s)\s+)?\[(?:header|title|step|substeps)\]\s*")
_ASKS = re.compile(
    r"(?:(?:in|on|at|to|from|for|by|with|of|under|during) )?"
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|could|will|would|has|have|had)"
    r"(?:'s)?\b"
)


def boolq(row: Mapping[str, Any]) -> dict[str, Any]:
    """BoolQ's questions are lower-case search queries without a question mark; a few carry one already.

    >>> boolq({"question": "is rain wet "})["question"]
    'Is rain wet?'
    """
    question = row["question"].strip().rstrip("?").rstrip()
    return {**row, "question": f"{question[:1].upper()}{question[1:]}?"}


def hellaswag(row: Mapping[str, Any]) -> dict[str, Any]:
    """The marks of wikiHow's layout become line breaks in the context and spaces in the endings.

    On the hub `ctx_b` begins the sentence that the endings finish, in small letters; without it `ctx` is all there is.

    >>> hellaswag({"ctx": "[header] How to nap [title] Lie down. [step] Yawn.", "endings": ["Sleep. [title] Wake."]})
    {'ctx': 'How to nap\\nLie down.\\nYawn.', 'endings': ['Sleep. Wake.']}
    """
    start = row.get("ctx_b") or ""
    context = f"{row['ctx_a']} {start[:1].upper()}{start[1:]}" if start else row["ctx"]
    endings = [_WIKIHOW_MARK.sub(" ", ending).strip() for ending in row["endings"]]
    return {**row, "ctx": _WIKIHOW_MARK.sub("\n", context).strip(), "endings": endings}


def imdb(row: Mapping[str, Any]) -> dict[str, Any]:
    """Reviews come from web pages: `<br />` is a line break.

    >>> imdb({"text": "Dull.<br />Very dull."})["text"]
    'Dull.\\nVery dull.'
    """
    return {**row, "text": row["text"].replace("<br />", "\n")}


def sentiment140(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tweets hold HTML entities.

    >>> sentiment140({"text": "tea &amp; cake &lt;3"})["text"]
    'tea & cake <3'
    """
    return {**row, "text": html.unescape(row["text"])}


def yelp_polarity_reviews(row: Mapping[str, Any]) -> dict[str, Any]:
    r"""The text is a cell of a CSV file that nobody unescaped: `\""` or `""` is a quotation mark, `\n` a line break.

    >>> print(yelp_polarity_reviews({"text": r'The \""chef\"" left.\nSo did I.'})["text"])
    The "chef" left.
    So did I.
    """
    return {**row, "text": re.sub(r'\\?""', '"', row["text"]).replace(r"\n", "\n")}


def natural_questions(row: Mapping[str, Any]) -> dict[str, Any]:
    """Queries in small letters: those that ask become questions, others ("cast of the office") stay as they are.

    >>> [natural_questions({"question": q})["question"] for q in ("in which year did it snow", "cast of the office")]
    ['In which year did it snow?', 'cast of the office']
    """
    question = row["question"].replace("\u200b", "").strip()
    if _ASKS.match(question):
        question = f"{question[:1].upper()}{question[1:].rstrip('? ')}?"
    return {**row, "question": question}


def trivia_qa(row: Mapping[str, Any]) -> dict[str, Any]:
    """Unquotes questions that went through a CSV file, and lists the answer and its aliases in `references`.

    A quarter of the answers are in capitals. Where an alias has the same words in ordinary writing it comes first;
    short ones (USA, IKEA) are left alone. On the test split of the hub, which is unlabelled, the value is `<unk>`.

    >>> answer = {"value": "JANE DOE", "aliases": ["Doe", "Jane Doe"]}
    >>> row = {"question": '"Who sang ""Rain""?"', "answer": answer}
    >>> trivia_qa(row)["question"], trivia_qa(row)["references"]
    ('Who sang "Rain"?', ['Jane Doe', 'JANE DOE', 'Doe', 'Jane Doe'])
    """
    question, value, aliases = row["question"].strip(), row["answer"]["value"], row["answer"]["aliases"]
    if len(question) > 1 and question[0] == question[-1] == '"' and '""' in question:
        question = question[1:-1].replace('""', '"')
    same = [a for a in aliases if a.casefold() == value.casefold() and not a.isupper()]
    if value.isupper() and len(value) > 4 and same:
        value = max(same, key=lambda a: sum(word[:1].isupper() for word in a.split()))
    return {**row, "question": question, "references": [value, row["answer"]["value"], *aliases]}


def drop(row: Mapping[str, Any]) -> dict[str, Any]:
    """Every accepted answer as one text in `references`, the spans of an answer joined by a comma.

    An answer is an object with a number, a date or spans, and `validated_answers` holds a list for each of these keys;
    or, in a plainer copy, an answer is a list of spans: `answers_spans.spans` and each of `validated_answers`.

    >>> no_date = {"day": "", "month": "", "year": ""}
    >>> first = {"number": "", "date": no_date, "spans": ["Ann", "Bo"]}
    >>> may = {**no_date, "month": "May", "year": "1901"}
    >>> others = {"number": ["2", ""], "date": [no_date, may], "spans": [[], []]}
    >>> drop({"answer": first, "validated_answers": others})["references"]
    ['Ann, Bo', '2', 'May 1901']
    """
    others = row["validated_answers"]
    if isinstance(row["answer"], Mapping):
        validated = (dict(zip(others, values, strict=True)) for values in zip(*others.values(), strict=True))
        answers = [_drop_spans(answer) for answer in (row["answer"], *validated)]
    else:
        answers = [row["answers_spans"]["spans"], *others]
    return {**row, "references": [", ".join(dict.fromkeys(spans)) for spans in answers]}


def _drop_spans(answer: Mapping[str, Any]) -> list[str]:
    if answer["number"]:
        return [answer["number"]]
    date = " ".join(filter(None, (answer["date"][part] for part in ("day", "month", "year"))))
    return list(answer["spans"]) or [date]


def squad(row: Mapping[str, Any]) -> dict[str, Any]:
    """Titles are those of web addresses.

    >>> squad({"title": "Caf%C3%A9_(music)"})["title"]
    'Café (music)'
    """
    return {**row, "title": unquote(row["title"]).replace("_", " ")}


def squad_v2(row: Mapping[str, Any]) -> dict[str, Any]:
    """As `squad`; a question without answers is answered with the word "unanswerable".

    >>> squad_v2({"title": "Sky", "answers": {"text": [], "answer_start": []}})["answers"]["text"]
    ['unanswerable']
    """
    texts = row["answers"]["text"] or ["unanswerable"]
    return {**squad(row), "answers": {**row["answers"], "text": texts}}


def record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The article without its summary, the query with a blank, and one right entity among the options.

    Several mentions may be right ("Ada Byron", "Byron"). The first is the gold one and the others leave the options,
    so that no choice of a right answer counts as wrong. Without answers (the test split of the hub) the gold is "".

    >>> row = {"passage": "It snowed in Rome.\\n@highlight\\nSnow", "query": "@placeholder froze.",
    ...        "entities": ["Rome", "Italy", "Roma"], "answers": ["Rome", "Roma"]}
    >>> after = record(row)
    >>> after["passage"], after["query"], after["entities"], after["answer"]
    ('It snowed in Rome.', '____ froze.', ['Rome', 'Italy'], 'Rome')
    """
    if "@placeholder" not in row["query"]:
        raise ValueError("no @placeholder in the query")
    gold = row["answers"][0] if row["answers"] else ""
    also_right = set(row["answers"]) - {gold}
    return {
        **row,
        "passage": row["passage"].split("\n@highlight")[0],
        "query": row["query"].replace("@placeholder", "____"),
        "entities": [entity for entity in dict.fromkeys(row["entities"]) if entity not in also_right],
        "answer": gold,
    }


def qqp(row: Mapping[str, Any]) -> dict[str, Any]:
    """Questions with quotation marks still carry the quoting of a CSV file: marks around them, and doubled inside.

    >>> qqp({"question1": '"What is ""ice""?"', "question2": 'Who said "no"?'})["question1"]
    'What is "ice"?'
    """
    return {**row, **{name: _unquoted(row[name].strip()) for name in ("question1", "question2")}}


def _unquoted(text: str) -> str:
    inside = text[1:-1].replace('""', "")
    quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inside and '""' in text[1:-1]
    return text[1:-1].replace('""', '"') if quoted else text


def stsb(row: Mapping[str, Any]) -> dict[str, Any]:
    """STS-B's score, a float in 0-5, becomes the nearest whole number, halves up; any other number is an error.

    >>> [stsb({"label": score})["label"] for score in (0.0, 2.4, 2.5, 3.5)]
    [0, 2, 3, 4]
    """
    if not 0 <= row["label"] <= 5:
        raise ValueError(f"the score {row['label']}, which is not in 0-5")
    return {**row, "label": math.floor(row["label"] + 0.5)}


def winogrande(row: Mapping[str, Any]) -> dict[str, Any]:
    """Winogrande's sentences have doubled spaces, and spaces before punctuation.

    >>> winogrande({"sentence": "Nick 's hat fell off,  so _ ran ."})["sentence"]
    "Nick's hat fell off, so _ ran."
    """
    return {**row, "sentence": _closed_up(row["sentence"])}


def wsc(row: Mapping[str, Any]) -> dict[str, Any]:
    """SuperGLUE's WSC: the pronoun is marked in the text, and the candidate written as it is there.

    `span2_index` counts words from 0. It is off by a word in some rows, so the nearest word that fits is taken.

    >>> row = {"text": "The cat hid , for it was shy.", "span1_text": "the cat", "span2_text": "it", "span2_index": 4}
    >>> wsc(row)["text"], wsc(row)["span1_text"]
    ('The cat hid, for *it* was shy.', 'The cat')
    """
    words, pronoun, near = row["text"].split(), row["span2_text"].strip(), row["span2_index"]
    places = [i for i, word in enumerate(words) if re.fullmatch(rf"\W*{re.escape(pronoun)}\W*", word, re.IGNORECASE)]
    place = min(places, key=lambda i: abs(i - near))  # ValueError where the text has no such word
    words[place] = re.sub(r"\w+", r"*\g<0>*", words[place])
    plain, candidate = _closed_up(row["text"]), _closed_up(row["span1_text"])
    found = re.search(re.escape(candidate), plain, re.IGNORECASE)
    return {**row, "text": _closed_up(" ".join(words)), "span1_text": found[0] if found else candidate}


def wsc273(row: Mapping[str, Any]) -> dict[str, Any]:
    """A Winograd schema with a gap for its pronoun: of the hub's rows, or of rows with [MASK] and two option fields.

    >>> wsc273({"text": "Ann hid. She sat .", "pronoun": "She", "pronoun_loc": 9, "options": ["Ann", "Eve"]})["text"]
    'Ann hid. _ sat.'
    """
    text = row["text"]
    if "pronoun_loc" in row:
        start, end = row["pronoun_loc"], row["pronoun_loc"] + len(row["pronoun"])
        if text[start:end] != row["pronoun"]:
            raise ValueError(f"{text[start:end]!r} where the pronoun {row['pronoun']!r} should be")
        return {**row, "text": _closed_up(f"{text[:start]}_{text[end:]}")}
    if text.count("[MASK]") != 1:
        raise ValueError(f"{text.count('[MASK]')} gaps")
    options = [row["option1"], row["option2"]]
    return {**row, "text": _closed_up(text.replace("[MASK]", "_")), "options": options}


def _closed_up(text: str) -> str:
    """Single spaces, and none before punctuation or a possessive 's."""
    return re.sub(r" (?=[.,;:!?](?: |$)|['\u2019]s\b)", "", " ".join(text.split()))
