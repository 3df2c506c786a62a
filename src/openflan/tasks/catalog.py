"""The catalogue: every task by name, from the cards of the package and of the user, checked when it is loaded.

A card lies in `catalog/<collection>/<cluster>/<family>.yaml`; a user's card may lie anywhere. A card without members is
one task, named after its file; with members it is one task for each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openflan.errors import CatalogError, ConfigError, did_you_mean
from openflan.files import as_path, parse, read_yaml, real_path
from openflan.tasks.card import Card, Slug, Source, Strict, Template

CATALOG = Path(__file__).parent.parent / "catalog"
COLLECTIONS = ("flan", "world")
USER = "user"
REAL = "flan"  # whose rows are those of real datasets
SLUG = r"[a-z0-9][a-z0-9_\-]{0,63}"
FILL_IN = "<fill in"  # marks the places that `openflan tasks new` leaves to its user


class ClusterCard(Strict):
    """One entry of `clusters.yaml`."""

    title: str
    hold_out_with: tuple[Slug, ...] = ()


class ClusterFile(Strict):
    """The whole of `clusters.yaml`."""

    clusters: dict[Slug, ClusterCard]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A kind of task. Holding out `name` also removes the clusters `hold_out_with` from training."""

    name: str
    title: str
    hold_out_with: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset as models see it: a card, and what this member of the card's family has of its own."""

    name: str
    collection: str
    card: Card
    source: Source
    constants: Mapping[str, str]
    path: Path

    @property
    def cluster(self) -> str:
        return self.card.cluster

    @property
    def dataset(self) -> str:
        """What the paper counts as one dataset: ANLI's three rounds are one, each language pair of WMT-16 is one."""
        return self.card.dataset or self.name

    @property
    def family(self) -> str:
        return self.card.family

    @property
    def templates(self) -> tuple[Template, ...]:
        """All wordings, inverted ones included: what training draws from."""
        return self.card.templates

    @property
    def scored_templates(self) -> tuple[Template, ...]:
        """The wordings that are evaluated: those that are not inverted."""
        return tuple(template for template in self.card.templates if not template.inverted)

    @property
    def samples(self) -> tuple[dict[str, Any], ...]:
        """The hand-written rows: the member's own, or the card's."""
        member = self.card.members.get(self.name)
        return member.samples if member and member.samples else self.card.samples

    @property
    def completion(self) -> Template | None:
        """The plain prompt for an untuned model as a template of its own, not among `templates`."""
        plain = self.card.completion
        return Template(id="completion", input=plain.input, target=plain.target) if plain else None

    @property
    def derived_from(self) -> tuple[str, ...]:
        return self.card.derived_from

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.card.metrics


def check_task(task: object) -> None:
    """CatalogError for anything else in place of a task, such as its name."""
    if not isinstance(task, Task):
        do = "Take it from the catalogue: load_catalog().task(NAME)."
        raise CatalogError("a task", f"{task!r:.80}", "an openflan.Task", do)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All tasks and clusters by name, in the order of the collections, clusters and file names."""

    tasks: dict[str, Task]
    clusters: dict[str, Cluster]

    def task(self, name: str) -> Task:
        """The task called `name`; CatalogError with the nearest names otherwise."""
        if not isinstance(name, str):
            raise CatalogError("the catalogue", f"{name!r:.80}", "a task's name, such as 'rte'")
        if name not in self.tasks:
            raise CatalogError("the catalogue", f"no task {name!r}", "a task's name", did_you_mean(name, self.tasks))
        return self.tasks[name]

    def cluster(self, name: str) -> Cluster:
        """The cluster called `name`; CatalogError with the nearest names otherwise."""
        if name not in self.clusters:
            hint = did_you_mean(name, self.clusters)
            raise CatalogError("the catalogue", f"no cluster {name!r}", "a cluster's name", hint)
        return self.clusters[name]

    def in_cluster(self, name: str, collection: str | None = None) -> list[Task]:
        """The tasks of one cluster, of one collection or of all; an unknown cluster raises CatalogError."""
        cluster = self.cluster(name).name
        return [t for t in self.tasks.values() if t.cluster == cluster and collection in (None, t.collection)]

    def to_average(self, name: str, preferred: str | None, do: str) -> list[Task]:
        """The tasks of one cluster and one collection, for a mean that nobody asked to be taken across collections.

        Where the cluster has tasks of several, those of the `preferred` one are taken; ConfigError, which ends with
        `do`, where none is preferred or it has none.
        """
        tasks = self.in_cluster(name)
        counts = Counter(task.collection for task in tasks)
        if len(counts) > 1 and preferred not in counts:
            found = f"tasks of {len(counts)} collections: " + ", ".join(f"{each} {n}" for each, n in counts.items())
            raise ConfigError(f"the cluster {name}", found, "tasks of one collection", do)
        return [task for task in tasks if len(counts) == 1 or task.collection == preferred]


def load_catalog(extra: Sequence[str | Path] | str | Path = ()) -> Catalog:
    """The packaged cards and the user's: `extra` names card files, or folders that are searched for `*.yaml`. A file
    that is named twice, by itself and by a folder it lies in, is one card.

    Raises CatalogError for a card that breaks the schema, an unknown cluster, a packaged card in another cluster's
    folder, and a task name that stands twice.
    """
    given = [extra] if isinstance(extra, str | Path) else extra
    clusters = _load_clusters(CATALOG / "clusters.yaml")
    tasks: dict[str, Task] = {}
    for collection, path in _card_files([as_path(path) for path in given]):
        for task in _load_card(path, collection, clusters):
            if task.name in tasks:
                found = f"the task {task.name!r}, which {tasks[task.name].path} defines already"
                raise CatalogError(path, found, "a name of its own", "Rename the card's file or its member.")
            tasks[task.name] = task
    return Catalog(tasks, clusters)


def _load_clusters(path: Path) -> dict[str, Cluster]:
    cards = parse(ClusterFile, {"clusters": read_yaml(path, CatalogError)}, path, CatalogError).clusters
    for card in cards.values():
        for name in card.hold_out_with:
            _known_cluster(name, cards, path)
    return {name: Cluster(name, card.title, card.hold_out_with) for name, card in cards.items()}


def _card_files(extra: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for collection in COLLECTIONS:
        for path in sorted((CATALOG / collection).rglob("*.yaml")):
            yield collection, path
    known = {_place(path) for path in CATALOG.rglob("*.yaml")} if extra else set()
    for given in extra:
        paths = sorted(given.rglob("*.yaml")) if given.is_dir() else [given]
        if not paths:
            raise CatalogError(given, "a folder without cards", "one card (*.yaml) or more in it")
        for path in paths:
            if _place(path) not in known:
                known.add(_place(path))
                yield USER, path


def _place(path: Path) -> tuple[Path, str]:
    """What makes two paths one card: the file, and the name under which it is a task."""
    return real_path(path), path.stem


def _load_card(path: Path, collection: str, clusters: Mapping[str, Cluster]) -> Iterator[Task]:
    value = read_yaml(path, CatalogError)
    places = list(places_to_fill(value)) if collection == USER else []
    if places:
        found = f"{len(places)} places that are still to fill in: {', '.join(places)}"
        raise CatalogError(path, found, f"none with {FILL_IN!r}", "Write what each of them asks for.")
    card = parse(Card, value, path, CatalogError)
    _known_cluster(card.cluster, clusters, path)
    if collection != USER and path.parent.name != card.cluster:
        raise CatalogError(path, f"cluster {card.cluster!r}", f"the folder's cluster, {path.parent.name!r}")
    if card.source is None:
        for name, member in card.members.items():
            yield Task(name, collection, card, member.source, member.constants, path)
    elif re.fullmatch(SLUG, path.stem):
        yield Task(path.stem, collection, card, card.source, {}, path)
    else:
        raise CatalogError(path, f"the task name {path.stem!r}", "a file name of small letters, digits, _ and -")


def places_to_fill(value: object, key: str = "") -> Iterator[str]:
    """The keys of a new card whose text is still to write, such as `templates.0.input`."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_to_fill(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, str) and FILL_IN in value:
        yield key


def _known_cluster(name: str, clusters: Iterable[str], path: Path) -> None:
    known = list(clusters)
    if name not in known:
        raise CatalogError(path, f"cluster {name!r}", "a cluster of clusters.yaml", did_you_mean(name, known))
