import pytest

from openflan.study.compare import Asked, Detail, Difference, ResultRow, Run, StudyResults, TaskRow
from openflan.study.execute import correct

NLI, SENTIMENT, PARAPHRASE = "natural_language_inference", "sentiment", "paraphrase"
SCORES = {
    NLI: {
        "untuned, options": (0.412, 0.371, 0.455),
        "untuned, no options": (0.437, 0.392, 0.481),
        "tuned": (0.5312, 0.4901, 0.5720),
        "tuned, shuffled labels": (0.402, 0.360, 0.447),
        "majority": (0.358, 0.319, 0.399),
    },
    SENTIMENT: {
        "untuned, options": (0.520, 0.470, 0.571),
        "untuned, no options": (0.508, 0.459, 0.560),
        "tuned": (0.536, 0.488, 0.584),
        "majority": (0.5, 0.452, 0.549),
    },
    PARAPHRASE: {
        "untuned, options": (0.611, 0.560, 0.659),
        "untuned, no options": (None, None, None),
        "tuned": (0.540, 0.493, 0.590),
        "tuned, shuffled labels": (0.5, 0.451, 0.552),
        "majority": (0.505, 0.457, 0.553),
    },
}
DIFFERENCES = [  # arms, difference, interval, p-value, detectable difference
    (NLI, "tuned", "untuned, options", 0.1192, 0.08, 0.16, 0.001, 0.0571),
    (NLI, "tuned", "untuned, no options", 0.0942, 0.0511, 0.1369, 0.001, 0.0613),
    (NLI, "tuned", "tuned, shuffled labels", 0.1292, 0.087, 0.171, 0.001, 0.06),
    (SENTIMENT, "tuned", "untuned, options", 0.016, -0.021, 0.052, 0.4, 0.0522),
    (SENTIMENT, "tuned", "untuned, no options", 0.028, -0.011, 0.066, 0.15, 0.055),
    (PARAPHRASE, "tuned", "untuned, options", -0.071, -0.112, -0.030, 0.01, 0.0586),
    (PARAPHRASE, "tuned", "untuned, no options", None, None, None, None, None),
]
TASKS = {
    NLI: ("world_follows", "world_entails"),
    SENTIMENT: ("world_mood", "world_review"),
    PARAPHRASE: ("world_same",),
}
TEMPLATES = ("plain", "question-first", "as-a-teacher", "true-or-false", "short")


def make_results() -> StudyResults:
    rows = [
        ResultRow(held_out=h, arm=arm, score=s, low=low, high=high, num_examples=400, num_templates=10)
        for h, arms in SCORES.items()
        for arm, (s, low, high) in arms.items()
    ]
    details = [
        Detail(
            held_out=row.held_out,
            arm=row.arm,
            task=task,
            template=template,
            score=None if row.score is None else round(row.score + (3 * i + 2 * j - 7) / 100, 4),
            num_examples=200,
        )
        for row in rows
        if row.arm != "majority"
        for j, task in enumerate(TASKS[row.held_out])
        for i, template in enumerate(TEMPLATES)
    ]
    tasks = [
        TaskRow(
            held_out=row.held_out,
            arm=row.arm,
            task=task,
            metric="accuracy",
            score=row.score,
            low=row.low,
            high=row.high,
            spread=None if row.score is None else 0.0316,
            num_examples=200,
            num_templates=5,
            num_prompts=1000,
            num_unscored=1000 if row.score is None else 0,
            num_cut=0,
            num_at_limit=0,
            median_margin=0.7,
            tie_rate=0.0,
            signature=None,
        )
        for row in rows
        if row.arm != "majority"
        for task in TASKS[row.held_out]
    ]
    runs = [
        Run(
            directory=f"runs/demo/{held_out}",
            held_out=held_out,
            arms=tuple(SCORES[held_out]),
            model="openflan/world-base",
            seed=0,
            command="openflan demo --out runs/demo --seed 0",
            trained_on=tuple(task for other in TASKS if other != held_out for task in TASKS[other]),
            evaluated_on=TASKS[held_out],
            excluded={"world_implies": f"derived from {TASKS[held_out][0]}"},
            fingerprints={"plan": "0f3a9c1d2b4e5f60", "model": "91d2aa07c3b5e8f4"},
        )
        for held_out in SCORES
    ]
    results = StudyResults(
        rows=tuple(rows),
        differences=tuple(
            Difference(
                held_out=h,
                a=a,
                b=b,
                difference=d,
                low=low,
                high=high,
                p_value=p,
                detectable=detectable,
                num_unpaired=1000 if d is None else 0,
            )
            for h, a, b, d, low, high, p, detectable in DIFFERENCES
        ),
        seconds={"tune": 101.25, "evaluate": 60.0},
        tasks=tuple(tasks),
        details=tuple(details),
        runs=tuple(runs),
        asked=Asked(num_shots=0, prompt="templates", cluster_mean="tasks"),
    )
    return correct(results)


@pytest.fixture
def results() -> StudyResults:
    """Three clusters: one gains, one does not tell, one loses; one arm was not run and one has no score."""
    return make_results()
