"""How often the 95% intervals of scores and of paired differences hold the truth, and how often equal models differ.

Each row of a simulated test set has a difficulty of its own, which its templates share in part (`correlation`), and so
do both models. Prints two tables in Markdown. About a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from openflan.evaluation.intervals import ALPHA, Part, difference_interval, score_interval

ROWS = (20, 56, 100, 500)
TEMPLATES = ((1, 1.0), (10, 0.3), (10, 0.9))  # number, correlation of a row's answers in two of them
SCORES = (0.5, 0.8, 0.9, 0.97, 0.99)
DIFFERENCES = ((0.5, 0.5), (0.9, 0.9), (0.6, 0.5), (0.95, 0.85))

Array = NDArray[np.float64]


def credits(rng: np.random.Generator, share: float, shared: Array, num_templates: int, correlation: float) -> Array:
    """Mean credit of each row over its templates: right where a normal variable, partly `shared`, is small enough."""
    own = rng.normal(size=(*shared.shape[:2], 1))
    noise = rng.normal(size=(*shared.shape[:2], num_templates))
    latent = np.sqrt(correlation / 2) * (shared + own) + np.sqrt(1 - correlation) * noise
    right: Array = (latent < stats.norm.ppf(share)).mean(axis=2)
    return right


def part(values: Array) -> Part:
    return Part(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values))


def of_scores(rng: np.random.Generator, num_trials: int) -> Iterator[str]:
    yield "| rows | templates, correlation | " + " | ".join(f"score {100 * share:.0f}" for share in SCORES) + " |"
    yield "|" + " ---: |" * (2 + len(SCORES))
    for num_rows in ROWS:
        for num_templates, correlation in TEMPLATES:
            cells = []
            for share in SCORES:
                shared = rng.normal(size=(num_trials, num_rows, 1))
                sets = credits(rng, share, shared, num_templates, correlation)
                bounds = [score_interval([part(values)]) for values in sets]
                cells.append(f"{100 * np.mean([low <= share <= high for low, high in bounds]):.1f}")
            yield f"| {num_rows} | {num_templates}, {correlation} | " + " | ".join(cells) + " |"


def of_differences(rng: np.random.Generator, num_trials: int) -> Iterator[str]:
    heads = [f"{100 * a:.0f} and {100 * b:.0f}" for a, b in DIFFERENCES]
    yield "| rows | templates, correlation | " + " | ".join(heads) + " |"
    yield "|" + " ---: |" * (2 + len(DIFFERENCES))
    for num_rows in ROWS:
        for num_templates, correlation in TEMPLATES:
            cells = []
            for a, b in DIFFERENCES:
                shared = rng.normal(size=(num_trials, num_rows, 1))
                arms = (credits(rng, share, shared, num_templates, correlation) for share in (a, b))
                found = [difference_interval([part(x - y)]) for x, y in zip(*arms, strict=True)]
                told = [each for each in found if each is not None]
                held = np.mean([low <= a - b <= high for (low, high), _ in told])
                significant = np.mean([p < ALPHA for _, p in told])
                cells.append(f"{100 * held:.1f} ({100 * significant:.1f})")
            yield f"| {num_rows} | {num_templates}, {correlation} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    num_trials = parser.parse_args().trials
    rng = np.random.default_rng(0)
    print("Intervals of a score that hold the truth, in percent:\n")
    print("\n".join(of_scores(rng, num_trials)))
    print("\nIntervals of a difference that hold the truth, in percent, and differences found significant:\n")
    print("\n".join(of_differences(rng, num_trials)))


if __name__ == "__main__":
    main()
