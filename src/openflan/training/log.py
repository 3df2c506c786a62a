"""What is written about each update: a line of `train.jsonl`, and the same to trackers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openflan import files
from openflan.training.ranks import Ranks
from openflan.training.settings import TrainSettings
from openflan.untrusted import json_value


@dataclass(frozen=True, slots=True)
class UpdateLog:
    """One line of the training log, over all ranks.

    `loss` is nats per supervised id; `num_tokens` the ids read, of which `num_supervised` are predicted; `num_padding`
    the positions of the batches that hold none; `seconds` the time this update took.
    """

    update: int
    loss: float
    gradient_norm: float
    learning_rate: float
    num_supervised: int
    num_tokens: int
    num_padding: int
    supervised_per_second: float
    seconds: float


class TrainingLog:
    """Rank 0 writes, the others do nothing. Updates from `start` on are made again: their lines are taken away."""

    def __init__(self, folder: Path, start: int, settings: TrainSettings, ranks: Ranks) -> None:
        self.path = folder / files.TRAIN_LOG
        self.ranks = ranks
        ranks.on_main(lambda: files.write_jsonl(self.path, _rows_before(start, self.path)))
        if settings.trackers:
            config = {name: str(value) for name, value in settings.model_dump(mode="json").items()}
            ranks.accelerator.init_trackers("openflan", {"folder": str(folder), **config})

    def write(self, line: UpdateLog) -> None:
        """Append a line."""
        values = asdict(line)
        if self.ranks.is_main:
            files.append_jsonl(self.path, [values])
        self.ranks.accelerator.log({f"train/{name}": value for name, value in values.items()}, step=line.update)

    def close(self) -> None:
        """Let the trackers finish."""
        for tracker in self.ranks.accelerator.trackers:
            tracker.finish()


def _rows_before(update: int, path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log up to an update. What is damaged is left out: the log decides nothing."""
    for line in path.read_bytes().split(b"\n")[:-1] if path.is_file() else ():
        with suppress(ValueError):
            row = json_value(line.decode())
            if isinstance(row, dict) and isinstance(row.get("update"), int) and row["update"] < update:
                yield row
