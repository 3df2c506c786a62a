"""The schema of a dataset card: one YAML file per dataset (or family of datasets), checked when it is read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from openflan.untrusted import path_text

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_\-]*$", max_length=64)]
RESERVED = frozenset({"answer", "options", "options_block", "loop"})  # what a template sees beside the card's fields
# Names that become part of a path: no `..`, and never from the root.
SplitName = Annotated[str, StringConstraints(pattern=r"^[\w\-]+(\.[\w\-]+)*$")]
HubName = Annotated[str, StringConstraints(pattern=r"^[\w\-]+(\.[\w\-]+)*(/[\w\-]+(\.[\w\-]+)*)*$")]
MAX_CHECKS = 200_000
DEV_ROWS = 200  # of each dataset, for choosing between wordings or settings (FLAN, section 2.3)
DottedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


OwnPath = Annotated[Path, BeforeValidator(lambda given: path_text(given) if isinstance(given, str | Path) else given)]
OwnPathText = Annotated[
    str, BeforeValidator(lambda given: path_text(given) if isinstance(given, str | Path) else given)
]


class Strict(BaseModel):
    """Read from disk: frozen, no unknown keys. A docstring under a field becomes its `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Splits(Strict):
    """Which split of the source plays which part. `test` is `validation` where the official test has no labels.

    A number instead of a name says how many rows are cut from `train`: `dev: 50`, or `test: 500` for a source without
    a test split. Cuts are drawn at random, the same in every run, and never take more than a quarter of the rows. From
    a split that `dev` names, DEV_ROWS are drawn.
    """

    train: SplitName | None = "train"
    dev: Annotated[int, Field(strict=True, ge=0)] | SplitName | None = None
    test: Annotated[int, Field(strict=True, ge=1)] | SplitName = "validation"

    @property
    def dev_from(self) -> int | str:
        """`dev`, or the paper's rule: from `validation` beside a labelled official test, else cut from `train`."""
        if self.dev is not None:
            return self.dev
        return "validation" if self.test == "test" and self.train != "validation" else DEV_ROWS

    @model_validator(mode="after")
    def _apart(self) -> Splits:
        named = [name for name in (self.train, self.dev, self.test) if isinstance(name, str)]
        if len(set(named)) < len(named):
            raise ValueError("train, dev and test must be different splits; a number cuts rows from train")
        if self.train is None and (isinstance(self.dev, int) or isinstance(self.test, int)):
            raise ValueError("without a train split there is nothing to cut dev or test rows from")
        return self


class Source(Strict):
    """Where rows come from: a hub dataset (`hub`, `config`, `revision`) or the embedded world (`world`).

    Files in `<data root>/<local>/` (default: the task's name) are used before the hub. `manual` says how to get the
    rows of a dataset that nobody may pass on or that no hub holds.
    """

    hub: HubName | None = None
    config: str | None = None
    revision: HubName | None = None
    world: str | None = None
    local: Slug | None = None
    manual: str | None = None
    splits: Splits = Splits()

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.hub and self.world:
            raise ValueError("a source is either `hub` or `world`, not both")
        return self


class ChoiceAnswer(Strict):
    """Options are fixed words (`options`), or the row's own (`options_from`: names of fields, or of one list field).

    `gold` names the row's field that holds the index, a bool, the option's own text, a value that `gold_values` lists
    in option order, or one that the row itself lists in option order (`gold_values_from: choices.label`). A number in
    its place says where the right option always stands among a row's own; they are then shuffled.
    """

    kind: Literal["choice"]
    options: Annotated[tuple[str, ...], Field(max_length=1_000)] | None = None
    options_from: tuple[str, ...] | None = None
    gold: str | Annotated[int, Field(strict=True, ge=0)]
    gold_values: tuple[str | int | float | bool, ...] | None = None
    gold_values_from: str | None = None
    digits_are_index: bool = False
    """A text of digits in `gold` is an index, whatever the options are; otherwise it is an option's text."""

    @model_validator(mode="after")
    def _one_kind_of_options(self) -> ChoiceAnswer:
        if (self.options is None) == (self.options_from is None):
            raise ValueError("give either `options` (fixed words) or `options_from` (fields of the row)")
        if self.gold_values is not None and self.gold_values_from is not None:
            raise ValueError("give either `gold_values` or `gold_values_from`, not both")
        if isinstance(self.gold, int) and (self.options is not None or self.gold_values or self.gold_values_from):
            raise ValueError(
                "a number for `gold` goes with `options_from` alone: fixed options would always be the same"
            )
        if self.digits_are_index and (self.gold_values is not None or self.gold_values_from is not None):
            raise ValueError("`digits_are_index` has no meaning beside `gold_values` or `gold_values_from`")
        if self.options is not None and (len(self.options) < 2 or len(set(self.options)) < len(self.options)):
            raise ValueError("`options` needs two or more words, all different")
        if self.options is not None and self.gold_values is not None and len(self.options) != len(self.gold_values):
            raise ValueError("`gold_values` needs one value for each of the `options`, in the same order")
        return self


class TextAnswer(Strict):
    """Free text: `references` names a field (text or a list); dotted names reach into objects (`answers.text`)."""

    kind: Literal["text"]
    references: str


class Template(Strict):
    """One wording of a task, in Jinja2. `inverted` turns the task around: it is trained on and never scored."""

    id: Slug
    input: str
    target: str = "{{ answer }}"
    inverted: bool = False


class Completion(Strict):
    """How one would prompt a model that was never instruction-tuned. In results its template id is `completion`."""

    input: str
    target: str = "{{ answer }}"


class Member(Strict):
    """One dataset of a family: what it has of its own. `constants` are fields that every row of the member has."""

    source: Source
    constants: dict[str, str] = {}
    samples: tuple[dict[str, Any], ...] = ()
    """In place of the card's."""


class Card(Strict):
    """A dataset card. A card without `members` is one task, named after its file; with members, one task for each.

    `fields` maps the names that templates use to the row's own (dotted names reach into objects, `|` joins nothing:
    anything odder is a row function, `adapt: package.module:function`, from a row to a row, or to a list of rows).
    """

    family: Slug
    cluster: Slug
    dataset: Slug | None = None
    """The dataset that the tasks of this card are parts of (the paper counts 62); each is one of its own by default."""
    source: Source | None = None
    members: dict[Slug, Member] = {}
    drop_if: dict[str, tuple[Any, ...]] = {}
    """Rows in which a field has one of these values are dropped."""
    keep_if: dict[str, tuple[Any, ...]] = {}
    """Rows in which a field has none of these values are dropped."""
    adapt: DottedName | None = None
    fields: dict[str, str]
    answer: Annotated[ChoiceAnswer | TextAnswer, "by kind"]
    aliases: tuple[HubName, ...] = ()
    """Other names of the same data: a hub dataset's without its organisation (`multi_nli`), or a collection's with a
    configuration (`glue/rte`). Any card with one of these names is held out with this card's family."""
    derived_from: tuple[Slug, ...] = ()
    metrics: tuple[str, ...]
    cut: tuple[str, ...] | None = None
    """Fields that may lose their middle when a prompt is too long; the first loses all it can before the second loses
    anything. The other fields stay whole. Default: the longest fields lose first."""
    group_by: tuple[str, ...] = ()
    """Fields that rows share when they are parts of one question: they are drawn together wherever rows are drawn."""
    unit: tuple[str, ...] = ()
    """Fields that rows share when they are not independent, such as the passage that several questions are about: test
    rows that agree in them count as one in intervals and tests. `group_by` where not given, else each row is a unit."""
    licence: str
    made_from: str | None = None
    """The file of another project that the wordings come from, unchanged; findings about their style are warnings."""
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    samples: tuple[dict[str, Any], ...] = ()
    templates: tuple[Template, ...] = Field(max_length=1_000)
    completion: Completion | None = None

    @model_validator(mode="after")
    def _complete(self) -> Card:
        if (self.source is None) == (not self.members):
            raise ValueError("give either `source` or `members`")
        if not self.samples and not (self.members and all(m.samples for m in self.members.values())):
            raise ValueError("`samples` needs at least one hand-written row")
        taken = sorted(RESERVED & {*self.fields, *(name for m in self.members.values() for name in m.constants)})
        if taken:
            raise ValueError(f"fields may not be called {', '.join(taken)}: templates know these by another meaning")
        for key, names in (("group_by", self.group_by), ("unit", self.unit), ("cut", self.cut or ())):
            unknown = sorted({*names} - {*self.fields})
            if unknown:
                raise ValueError(f"`{key}` names {', '.join(unknown)}, which `fields` does not")
        apart = sorted({*self.unit} - {*self.group_by}) if self.group_by else []
        if apart:
            raise ValueError(f"`unit` names {', '.join(apart)}, which `group_by` does not: a unit holds whole groups")
        ids = Counter(template.id for template in self.templates)
        twice = sorted(i for i, count in ids.items() if count > 1)
        if twice:
            raise ValueError(f"template ids must differ: {', '.join(twice)}")
        if not any(not template.inverted for template in self.templates):
            raise ValueError("`templates` needs at least one that is not inverted: the others are never scored")
        if (num := self._num_checks()) > MAX_CHECKS:
            raise ValueError(f"{num:,} prompts to check (templates, samples, options, members); at most {MAX_CHECKS:,}")
        return self

    def _num_checks(self) -> int:
        """How many prompts `tasks check` renders, about: every template on every sample with every gold."""
        samples = sum(len(m.samples) or len(self.samples) for m in self.members.values()) or len(self.samples)
        options = self.answer.options if isinstance(self.answer, ChoiceAnswer) else None
        return len(self.templates) * samples * min(50, len(options or "x"))
