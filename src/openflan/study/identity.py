"""What decides the predictions of an evaluation, and the key under which they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from openflan.streams import file_fingerprint, fingerprint
from openflan.tokens.store import code_fingerprint

SCORER_VERSION = 2
"""Of what a prediction is; another one never continues an old store."""
LIBRARIES = ("transformers", "tokenizers", "peft")
"""Which decide what a model computes. Torch and the device decide its rounding alone, and are left out."""


@dataclass(frozen=True, slots=True)
class EvaluationIdentity:
    """A field for each cause of another prediction. Two evaluations with equal fields share their predictions."""

    model: str
    """Fingerprint of weights, shape, tokenizer files, end-of-text ids and adapter; of a remote model its address."""
    codec: str
    """Fingerprint of how texts become ids: the tokenizer as loaded, chat template or separator."""
    settings: Mapping[str, object]
    """What is asked and how: shots, prompt style, limits, separator, dtype."""
    seed: int
    """Of the samples of rows and exemplars."""
    rows: str
    """Fingerprint of test rows, dev rows and the pools of exemplars."""
    cards: str
    """Fingerprint of the tasks' cards: wordings, answers."""
    lengths: tuple[int, int]
    """Most tokens of a prompt and of an answer, as the model allows them."""
    code: str
    """Fingerprint of the source that makes prompts, reads models and makes predictions."""
    libraries: Mapping[str, str]
    """Versions of `LIBRARIES`."""
    scorer: int = SCORER_VERSION
    """See `SCORER_VERSION`."""

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits: the end of the name of the evaluation's directory."""
        return fingerprint(asdict(self))[:12]


def prediction_code() -> str:
    """Of the source that decides predictions; what only counts or shows them is left out."""
    package = Path(__file__).parent.parent
    asking = [package / "evaluation" / f"{name}.py" for name in ("choose", "predictions", "requests", "run")]
    return fingerprint(
        [code_fingerprint(), file_fingerprint((package / "models").glob("*.py")), file_fingerprint(asking)]
    )


def library_versions() -> dict[str, str]:
    """The installed version of each of `LIBRARIES`."""
    return {name: version(name) for name in LIBRARIES}
