"""Which tasks have the same data, whatever their cards call it.

A dataset goes by several names: the hub moved it below an organisation (`anli`, `facebook/anli`), offers it in several
sizes (`winogrande_s`, `winogrande_xl`), or has it once more inside a collection (`glue` with configuration `rte`). What
is held out under one of them must not be trained on under another.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from openflan.tasks.catalog import USER, Task

_DEFAULT_CONFIGS = ("", "default", "plaintext")


def plain(name: str) -> str:
    """A name without case and separators; `/` stays.

    >>> plain("Multi-NLI"), plain("glue/mnli_matched")
    ('multinli', 'glue/mnlimatched')
    """
    return re.sub(r"[^\w/]|_", "", name).casefold()


def hub_name(hub: str, config: str | None) -> str:
    """A hub dataset without its organisation, and its configuration unless that is the default one.

    >>> hub_name("nyu-mll/glue", "rte"), hub_name("facebook/anli", "plain_text")
    ('glue/rte', 'anli')
    """
    return _configured(hub.rsplit("/", 1)[-1], config)


def _configured(name: str, config: str | None) -> str:
    return name if plain(config or "") in _DEFAULT_CONFIGS else f"{name}/{config}"


class DataNames:
    """The names that the data of some tasks go by, and the families they belong to.

    A task is known by its own name, its family, its card's `aliases`, the folder of its rows and its hub dataset. A hub
    dataset of the package's cards is known by its name alone, whatever the configuration, unless cards of several
    families have it: of such a collection (`glue`) each configuration is a dataset of its own. So is, for want of
    knowledge, each configuration of a hub dataset that only a user's cards name. Such a dataset keeps its organisation,
    too: `acme/reviews` and `other/reviews` may have nothing but a word in common.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._families: defaultdict[str, set[str]] = defaultdict(set)
        tasks = list(tasks)
        packaged: defaultdict[str, set[str]] = defaultdict(set)
        for task in tasks:
            if task.source.hub and task.collection != USER:
                packaged[hub_name(task.source.hub, None)].add(task.family)
        for task in tasks:
            names = {task.name, task.family, *task.card.aliases, task.source.local or task.name}
            if hub := task.source.hub:
                whole = hub_name(hub, None)
                families = packaged.get(whole)
                config = None if families and len(families) == 1 else task.source.config
                names.add(_configured(whole if families else hub, config))
            for name in names:
                self._families[plain(name)].add(task.family)

    def families(self, name: str) -> set[str]:
        """The families whose data have this name: `squad`, `multi_nli`, `glue/rte`; none for a name nobody has."""
        return set(self._families.get(plain(name), ()))

    def families_on_hub(self, hub: str, config: str | None) -> set[str]:
        """The families whose data a hub dataset holds."""
        names = (_configured(name, part) for name in (hub, hub_name(hub, None)) for part in (config, None))
        return set[str]().union(*map(self.families, names))

    def families_of(self, task: Task) -> set[str]:
        """The task's family, and those that have its data under another name."""
        found = {task.family, *self.families(task.source.local or task.name)}
        for alias in task.card.aliases:
            found |= self.families(alias)
        return found | (self.families_on_hub(task.source.hub, task.source.config) if task.source.hub else set())
