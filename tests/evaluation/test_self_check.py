from openflan.evaluation import metrics
from openflan.evaluation.self_check import metric_findings
from openflan.tasks.example import Example, Text
from toys import toy_task

TASK = toy_task(kind="text", metrics=["exact_match", "rouge2", "bleu"])


def examples(*references):
    return [Example(f"mood/test/{i}", "mood", {"text": "t"}, Text((text,))) for i, text in enumerate(references)]


def test_references_in_any_script_and_of_one_sign_are_scored():
    assert list(metric_findings(TASK, examples("A", "?", "我们在山上走", "मेल", "The boat sank in the lake."))) == []
    assert list(metric_findings(TASK, [])) == []


def test_what_a_metric_cannot_read_is_a_finding(monkeypatch):
    def score_english_only(prediction, normalisation):
        return float(prediction.text.isascii() and prediction.text != "B")

    monkeypatch.setitem(metrics.CREDITS, "exact_match", score_english_only)
    assert list(metric_findings(TASK, examples("B", "Ärger", "Four words make bleu."))) == [
        ("a reference that exact_match gives less than 1 for itself", "mood/test/0", "B"),
        ("an empty answer earns more than 0 by exact_match", "mood/test/0", "B"),
    ]
    [(problem, _, text)] = metric_findings(toy_task(kind="text", metrics=["bleu"]), examples("two words", "one"))
    assert (problem, text) == ("the references do not earn 1 by bleu for themselves", "two words")


def test_no_answer_is_none():
    task = toy_task(kind="text", metrics=["squad_v2_f1", "squad_v2_exact_match"])
    assert list(metric_findings(task, examples("unanswerable", "A"))) == []
