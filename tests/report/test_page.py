import re
from html.parser import HTMLParser
from pathlib import Path

from openflan.report.page import report_html, write_report
from openflan.study.compare import StudyResults

VOID = {"meta", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """Collects what a browser would see, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)


def test_the_page_needs_nothing_else(results: StudyResults) -> None:
    page = Page(report_html(results))
    assert page.open == []
    assert page.tags.count("svg") == 2 and page.tags.count("table") == 6
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on"), name
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#"), value
    style = report_html(results).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style and "@media print" in style


def test_ids_are_unique(results: StudyResults) -> None:
    ids = [value for name, value in Page(report_html(results)).attributes if name == "id"]
    assert len(ids) > 20 and len(ids) == len(set(ids))


def test_the_page_says_what_a_reader_asks(results: StudyResults) -> None:
    text = Page(report_html(results)).text
    for wanted in (
        "tuned is better than untuned, no options by 9.4 points, 95% interval",
        "[+5.1, +13.7]",
        "no difference shown (+1.6 points, 95% interval [-2.1, +5.2], p 0.400 after Holm's correction; "
        "5.2 points would show with 80% power)",
        "tuned - untuned, no options +9.4 [+5.1, +13.7] 0.001 0.005 6.1",
        "tuned - untuned, no options 1000 prompts have a score of one side only, and are left out of the difference",
        "world_same accuracy 61.1 [56.0, 65.9] ±3.2 missing 54.0 [49.3, 59.0] ±3.2 50.0 [45.1, 55.2] ±3.2 200",
        "world_same, untuned, no options: 1,000 of 1,000 prompts unscored, and not counted as wrong.",
        "tuned is worse than untuned, options by 7.1 points",
        "world_follows, world_entails",  # evaluated on
        "world_implies: derived from world_follows",
        "openflan demo --out runs/demo --seed 0",
        "0f3a9c1d2b4e5f60",
        "runs/demo/sentiment",
        "They do not cover the training seed",
        "8 billion parameters and fewer",
        "then asked, without examples, to do",
        "In the mean of a cluster every task weighs the same.",
        "tune 101.2 s, evaluate 60.0 s",
    ):
        assert wanted in text, wanted
    assert text.count("openflan demo --out") == 1  # three runs of one command
    assert "question-first" in text and "true-or-false" in text


def test_every_score_of_the_table_is_a_result(results: StudyResults) -> None:
    table = report_html(results).split("<tbody>")[1].split("</tbody>")[0]
    shown = re.findall(r"<td[^>]*>([\d.]+)<small>(\[[^]]+\])", table)
    expected = [
        (f"{100 * row.score:.1f}", f"[{100 * (row.low or 0):.1f}, {100 * (row.high or 0):.1f}]")
        for row in results.rows
        if row.score is not None
    ]
    assert len(shown) == 13
    assert shown == expected
    assert table.count("missing</span>") == 2


def test_text_from_datasets_stays_text(results: StudyResults) -> None:
    odd = "<script>alert('x')</script>"
    text = results.model_dump_json()
    places = (
        "world_follows",
        "question-first",
        "sentiment",
        "majority",
        "world-base",
        "openflan demo",
        "runs/demo",
        "plan",
    )
    for place in places:  # a task, a template, a cluster, an arm, a model, a command, a path, a stage
        assert place in text
        text = text.replace(place, odd)
    page = report_html(StudyResults.model_validate_json(text), title=odd)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 30
    assert "script" not in Page(page).tags


def test_same_results_same_page(results: StudyResults) -> None:
    assert report_html(results) == report_html(StudyResults.from_json(results.to_json()))


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    write_report(
        StudyResults(rows=(), differences=(), seconds={}, tasks=(), details=(), runs=()), tmp_path / "report.html"
    )
    text = Page((tmp_path / "report.html").read_text()).text
    assert "No comparison of the tuned model with the untuned one was made." in text
    assert "The results name no run." in text


def test_the_page_says_how_prompts_were_asked(results: StudyResults) -> None:
    assert results.asked is not None
    asked = results.asked.model_copy(update={"num_shots": 2, "prompt": "completion", "cluster_mean": "datasets"})
    text = Page(report_html(results.model_copy(update={"asked": asked}))).text
    assert "and then asked, after up to 2 solved examples, to do" in text
    assert "percent over the completion prompt of the held-out tasks" in text
    assert "every dataset weighs the same; its parts are averaged first" in text
    assert "OpenFLAN: 2-shot on held-out clusters" in text
    unknown = Page(report_html(results.model_copy(update={"asked": None}))).text
    assert "and then asked to do" in unknown
    for page in (text, unknown):
        assert "ithout examples" not in page and "mall model" not in page
        assert "ero-shot" not in page.replace("Finetuned Language Models Are Zero-Shot Learners", "")


def test_gains_and_losses_that_are_shown_have_the_accent(results: StudyResults) -> None:
    claims = re.findall(r"<li( class=\"shown\")?><strong>([^<]+)</strong>: ([^<]*)", report_html(results))
    shown = [(held_out, text.split(" than ")[0]) for accent, held_out, text in claims if accent]
    assert len(claims) == 6
    assert shown == [
        ("natural language inference", "tuned is better"),
        ("natural language inference", "tuned is better"),
        ("paraphrase", "tuned is worse"),
    ]
