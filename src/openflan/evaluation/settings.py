"""What to evaluate on, how to ask, and how much at once. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from openflan.tasks.card import Strict

MAX_SHOTS = 16
ClusterMean = Literal["tasks", "datasets"]


class EvalSettings(Strict):
    """How tasks are evaluated: every scored template of every task."""

    max_examples_per_task: int = Field(1000, ge=1)
    """Test rows of one task; when it has more, a seeded sample of them, the same for every model."""
    num_shots: int = Field(0, ge=0, le=MAX_SHOTS)
    """Solved examples before each prompt, from the task's training rows and in the prompt's own wording; as many whole
    ones as fit (paper, section 4.4: at most 16)."""
    exemplars: Literal["per_example", "fixed"] = "per_example"
    """Drawn for each test row by its id, or once for the whole task; fixed ones are read once for many rows, and faster
    by far."""
    prompt: Literal["templates", "completion"] = "templates"
    """Every instruction of the card, or its one plain prompt for models that were never instruction-tuned."""
    priors: bool = False
    """Also store how likely each option is without its prompt: what `pmi` and the option-prior baseline need."""
    pack_tokens: int = Field(1024, ge=64)
    """Positions scored together in one row of a batch; changes speed and memory, not the result."""
    packs_per_batch: int = Field(4, ge=1)
    """How many such rows go through the model at once; changes speed and memory, not the result."""
    texts_per_batch: int = Field(32, ge=1)
    """How many answers are generated at once; changes speed and memory, not the result."""
    num_threads: int | None = Field(None, ge=1)
    """CPU threads; all cores when not given."""
    cluster_mean: ClusterMean = "tasks"
    """What weighs the same in the mean of a cluster: every task, as in the paper's figure 1, or every dataset, whose
    parts (ANLI's three rounds) are averaged first."""

    def deciding(self) -> dict[str, object]:
        """The settings that decide what is asked: two evaluations that agree in them have the same predictions."""
        others = {"pack_tokens", "packs_per_batch", "texts_per_batch", "num_threads", "cluster_mean"}
        return self.model_dump(exclude=others)
