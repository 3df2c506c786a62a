"""Row functions of documents, their summaries and translations; see `odd_rows`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DATELINE = re.compile(r"(?:(?:[A-ZÀ-Þ][^\s()]*|[a-z]{2,5}) ){0,8}\([A-Z][^()\n]{1,40}\)\s+--\s+|\(CNN\)\s*")
_BYLINE = re.compile(r"(?:By|PUBLISHED|UPDATED|Last updated)\b.{0,300}\d{1,2}(?:st|nd|rd|th)? [A-Z][a-z]+ \d{4} \. ")


def one_line(text: str) -> str:
    return " ".join(text.split())


def words(name: str) -> str:
    return one_line(name.replace("_", " "))


def aeslc(row: Mapping[str, Any]) -> dict[str, Any]:
    """Mails and subjects are broken into lines at odd places: each becomes one line.

    >>> aeslc({"email_body": "Hi Jo, \\nsee you.\\n", "subject_line": "Hi"})["email_body"]
    'Hi Jo, see you.'
    """
    return {**row, "email_body": one_line(row["email_body"]), "subject_line": one_line(row["subject_line"])}


def cnn_dailymail(row: Mapping[str, Any]) -> dict[str, Any]:
    """The article after its dateline or byline, and highlights without a blank before a full stop.

    >>> after = cnn_dailymail({"article": "ROME, Italy (CNN) -- It snowed.", "highlights": "Snow falls on Rome ."})
    >>> after["article"], after["highlights"]
    ('It snowed.', 'Snow falls on Rome.')
    """
    article = row["article"].strip()
    head = _DATELINE.match(article) or _BYLINE.match(article)
    article = article[head.end() :] if head else article
    return {**row, "article": article, "highlights": re.sub(r"(?<! ) +([.?!])(?=\s|$)", r"\1", row["highlights"])}


def gigaword(row: Mapping[str, Any]) -> dict[str, Any]:
    """Adds `masked`: whether a digit ("#") or a rare word ("UNK", "<unk>") is blotted out on either side.

    >>> gigaword({"document": "the UNK won by # to #", "summary": "win"})["masked"]
    True
    """
    masked = re.search(r"#|\bunk\b", f"{row['document']} {row['summary']}", re.IGNORECASE) is not None
    return {**row, "masked": masked}


def multi_news(row: Mapping[str, Any]) -> dict[str, Any]:
    """The sources as a list, `articles`, and how many have text; a summary without the dash that it opens with.

    >>> after = multi_news({"document": "It snows. ||||| Snow! |||||", "summary": "\\u2013 Snow fell."})
    >>> after["articles"], after["num_articles"], after["summary"]
    (['It snows.', 'Snow!'], 2, 'Snow fell.')
    """
    articles = [article for article in map(str.strip, row["document"].split("|||||")) if article]
    summary = row["summary"].lstrip(" \u2013\u2014-")
    return {**row, "articles": articles, "num_articles": len(articles), "summary": summary}


def newsroom(row: Mapping[str, Any]) -> dict[str, Any]:
    """Nulls become "", title and summary one line.

    >>> newsroom({"title": None, "text": " It snows. ", "summary": "Snow\\nfell."})
    {'title': '', 'text': 'It snows.', 'summary': 'Snow fell.'}
    """
    lines = {name: one_line(row[name] or "") for name in ("title", "summary")}
    text = (row["text"] or "").strip()
    return {**row, **lines, "text": text}


def opinion_abstracts(row: Mapping[str, Any]) -> dict[str, Any]:
    """The first ten reviews or argument sentences that have text, as the list `opinions`; names without underscores.

    The authors' own file maps a key to each text; TensorFlow Datasets gives lists under `key` and `value`, or a list of
    such pairs.

    >>> row = {"_movie_name": "Snow_Day", "_critics": {"key": ["0", "1"], "value": ["Cold.", " "]}}
    >>> after = opinion_abstracts(row)
    >>> after["_movie_name"], after["opinions"]
    ('Snow Day', ['Cold.'])
    """
    name, given = ("_movie_name", "_critics") if "_critics" in row else ("_debate_name", "_argument_sentences")
    texts = row[given]
    if not isinstance(texts, Mapping):
        texts = [pair["value"] for pair in texts]
    elif set(texts) == {"key", "value"}:
        texts = texts["value"]
    else:
        texts = texts.values()
    opinions = [text for text in map(one_line, texts) if text]
    return {**row, name: words(row[name]), "opinions": opinions[:10]}


def samsum(row: Mapping[str, Any]) -> dict[str, Any]:
    """Plain line ends; no tags (<file_photo>) and no turns of which nothing else is left. A null dialogue becomes "".

    >>> samsum({"dialogue": "Jo: <file_gif>\\r\\nMo: I <3 it", "summary": "Mo likes it."})["dialogue"]
    'Mo: I <3 it'
    """
    turns = []
    for line in (row["dialogue"] or "").splitlines():
        turn, num_tags = re.subn(r"<[A-Za-z_ ]+>", "", line)
        turn = one_line(turn)
        if turn and not (num_tags and re.fullmatch(r"[^:]*:", turn)):
            turns.append(turn)
    return {**row, "dialogue": "\n".join(turns), "summary": one_line(row["summary"])}


def translation(row: Mapping[str, Any]) -> dict[str, Any]:
    """Both sides stripped, and the one that is not English under `foreign`.

    >>> translation({"translation": {"de": "Schnee ", "en": "Snow"}})["foreign"]
    'Schnee'
    """
    pair = {code: text.strip() for code, text in row["translation"].items()}
    (foreign,) = [text for code, text in pair.items() if code != "en"]
    return {**row, "translation": pair, "foreign": foreign}
