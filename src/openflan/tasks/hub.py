"""Rows of a dataset on the Hugging Face hub. Nothing here runs when it is imported, and no dataset's code ever runs.

A dataset must lie on the hub as data files. One that is a script has a Parquet conversion at the revision
`refs/convert/parquet`. What was downloaded once is read from the cache of `datasets`, also without a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openflan.environment import check_proxies
from openflan.errors import DataError
from openflan.streams import stream
from openflan.tasks.card import Source

# Rows of one split that are read, drawn at random when there are more: a mixture takes 30,000 of a dataset, and the
# largest of the paper's has 40 million.
MAX_ROWS = 100_000

HUB = "hf://datasets/"  # before the name, so that a folder of the same name is never taken for the dataset


@dataclass(frozen=True, slots=True)
class HubRows:
    """The rows of one split, in the order of the hub. Class labels are their numbers.

    `revision` is the commit that was loaded, None when it is not known; `num_rows_there` counts what the hub holds.
    """

    where: str
    table: Any
    revision: str | None
    num_rows_there: int

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, row in enumerate(self.table, start=1):
            yield f"{self.where}, row {number}", row


def open_split(source: Source, split: str, task: str, max_rows: int = MAX_ROWS) -> HubRows:
    """One split of `source.hub`; DataError when it cannot be had. `task` is named in the error's advice.

    When the card pins a commit, no other one is ever given, not even from the cache.
    """
    where = f"{source.hub}{f' ({source.config})' if source.config else ''}, split {split}"
    table = _load(source, split, where, task)
    revision = _commit(table)
    if is_commit(source.revision) and revision not in (None, source.revision):
        # Without a connection `datasets` gives what its cache holds, whatever the revision.
        do = f"{_advice(task)} Or correct `revision` in the card."
        raise DataError(where, f"only revision {revision}, in the cache", f"revision {source.revision}", do)
    num_rows = len(table)
    if num_rows > max_rows:
        rng = stream(0, "hub", source.hub, source.config or "", split)
        table = table.select(sorted(rng.sample(range(num_rows), max_rows)))
    return HubRows(where, table, revision, num_rows)


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, which never changes, and not a branch."""
    return revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _load(source: Source, split: str, where: str, task: str) -> Any:
    import datasets  # a second to load
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return datasets.load_dataset(f"{HUB}{source.hub}", source.config, split=split, revision=source.revision)
    except (OSError, ValueError, RuntimeError, ImportError, HfHubHTTPError, datasets.exceptions.DatasetsError) as exc:
        check_proxies()
        said = " ".join(str(exc).split()) or type(exc).__name__
        if "scripts are no longer supported" in said:
            do = "The card can name its Parquet conversion: `revision: refs/convert/parquet`."
            raise DataError(where, "a dataset that is a script", "data files", do) from exc
        if isinstance(exc, ConnectionError):
            found = f"no connection to the hub ({said[:200]})"
            raise DataError(where, found, "one, or the dataset in the cache", _advice(task)) from exc
        do = "Correct `source` in the card, or give the rows with --data-root DIR."
        raise DataError(where, said[:300].rstrip("."), "a dataset that the hub gives", do) from exc


def _advice(task: str) -> str:
    return f"On a connected machine: `openflan data fetch {task} --to DIR`; then give --data-root DIR."


def _commit(table: Any) -> str | None:
    """`datasets` keeps each revision of a hub dataset in a folder named after its commit, online and offline."""
    folders = [Path(file["filename"]).parent.name for file in table.cache_files]
    return folders[0] if folders and is_commit(folders[0]) else None
