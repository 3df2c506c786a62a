"""`openflan eval`: a model on tasks, with a table while it runs and at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from openflan import files
from openflan.cli.options import Cards, DataRoot, Json, check_known
from openflan.environment import launched_as
from openflan.errors import ConfigError
from openflan.evaluation.settings import ClusterMean, EvalSettings

if TYPE_CHECKING:
    from openflan.evaluation.metrics import Normalisation
    from openflan.models.settings import ModelSettings
    from openflan.study.results import Evaluation, Unfinished

# What the scores are called, by what people type.
NORMALISATIONS: dict[str, Normalisation] = {"sum": "sum", "tokens": "per_token", "bytes": "per_byte", "pmi": "pmi"}
Normalise = Annotated[
    str,
    typer.Option("--normalisation", metavar="|".join(NORMALISATIONS), help="How log-probs of options are compared."),
]
MeanOf = Annotated[
    str,
    typer.Option("--cluster-mean", metavar="tasks|datasets", help="Weigh tasks or datasets equally in a mean."),
]
ByTemplate = Annotated[bool, typer.Option("--by-template", help="Show the score of every template, too.")]


def normalisation_of(name: str) -> Normalisation:
    """The normalisation that a word on the command line means; ConfigError for another word."""
    check_known("--normalisation", name, NORMALISATIONS)
    return NORMALISATIONS[name]


def cluster_mean_of(name: str) -> ClusterMean:
    """What is to weigh the same in the mean of a cluster; ConfigError for another word."""
    check_known("--cluster-mean", name, get_args(ClusterMean))
    return cast(ClusterMean, name)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A model folder in Hugging Face format, an adapter, `base`, or a server's http address."),
    ],
    task: Annotated[list[str] | None, typer.Option(help="Evaluate this task; may be repeated.")] = None,
    cluster: Annotated[list[str] | None, typer.Option(help="Evaluate this cluster; may be repeated.")] = None,
    collection: Annotated[
        str | None, typer.Option(help="Take a cluster's tasks from here. Default: flan with --data-root.")
    ] = None,
    held_out_of: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Evaluate what this run directory holds out.")
    ] = None,
    shots: Annotated[int, typer.Option(min=0, max=16, help="Solved examples before each prompt, if they fit.")] = 0,
    exemplars: Annotated[
        str, typer.Option(help="per_example or fixed (the same for all rows, much faster).")
    ] = "per_example",
    prompt: Annotated[
        str, typer.Option(help="templates, or completion: the plain prompt for untuned models.")
    ] = "templates",
    options: Annotated[bool, typer.Option(help="Show the options block in prompts.")] = True,
    best_dev: Annotated[
        bool, typer.Option("--best-dev", help="Also report the template that is best on dev rows.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Test rows of each task.")] = 1000,
    normalisation: Normalise = "sum",
    cluster_mean: MeanOf = "tasks",
    priors: Annotated[bool, typer.Option(help="Also score options without their prompt: for pmi, later too.")] = True,
    baseline: Annotated[str | None, typer.Option(metavar="MODEL", help="Another model, to be compared with.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder with the tokenizer of a server's model.")
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="Which of a server's models.")] = None,
    server_seconds: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="What a request to a server may take (600, or OPENFLAN_SERVER_SECONDS)."),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Text between prompt and answer (default: as tuned, or a line break).")
    ] = None,
    chat_template: Annotated[
        bool | None, typer.Option(help="Ask through the chat template (default: as tuned).")
    ] = None,
    max_input_tokens: Annotated[
        int, typer.Option(min=1, help="Longer prompts lose exemplars, then the middle of a field.")
    ] = 1024,
    max_target_tokens: Annotated[
        int, typer.Option(min=1, help="Most positions that a prompt leaves free for generated text.")
    ] = 256,
    dtype: Annotated[str, typer.Option(help="Of the weights: float32 or bfloat16.")] = "float32",
    pack_tokens: Annotated[
        int, typer.Option(min=64, help="Tokens in a row of a batch; no result depends on it.")
    ] = 1024,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the work: GPUs, or cores.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples of rows and exemplars.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for predictions; the same one continues.")] = Path(
        "runs/eval"
    ),
    data_root: DataRoot = None,
    catalog: Cards = None,
    by_template: ByTemplate = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model on all templates of tasks or clusters, and compare it with another on the same rows.

    On several machines start it with torchrun or accelerate launch, as `-m openflan.cli.main eval`.

    Example: openflan eval base --cluster sentiment --collection world --limit 50
    """
    launched_as()
    normalise = normalisation_of(normalisation)
    if normalise == "pmi" and not priors:
        raise ConfigError("--normalisation pmi", "--no-priors", "priors, which pmi subtracts", "Leave one of them out.")
    settings = files.parse(
        EvalSettings,
        {
            "max_examples_per_task": limit,
            "num_shots": shots,
            "exemplars": exemplars,
            "prompt": prompt,
            "priors": priors,
            "pack_tokens": pack_tokens,
            "cluster_mean": cluster_mean_of(cluster_mean),
        },
        "eval",
    )
    check_known("--dtype", dtype, ("float32", "bfloat16"))
    common = {"max_input_tokens": max_input_tokens, "max_target_tokens": max_target_tokens, "dtype": dtype}
    asked = [_model_settings(name, tokenizer, separator, chat_template, common) for name in (model, baseline) if name]
    if (tokenizer or model_name or server_seconds) and not any(is_address(each.path) for each in asked):
        do = "Leave --tokenizer, --model-name and --server-seconds out."
        raise ConfigError("eval", f"the model folder {model}", "the address of a server", do)
    from openflan.study.directory import read_config
    from openflan.tasks.catalog import load_catalog

    cards = [*(read_config(held_out_of).data.cards if held_out_of else ()), *(catalog or ())]
    tasks = load_catalog(cards).tasks
    # Before this, nothing has loaded torch: a mistake is told at once.
    from openflan.cli.score_table import ScoreTable
    from openflan.models.server import check_seconds
    from openflan.study.evaluate import Asking, Behind, evaluate_model
    from openflan.study.job import rank

    seconds = None if server_seconds is None else check_seconds(server_seconds, "--server-seconds")
    done = []
    for each in asked:
        asking = Asking(
            model=each,
            behind=Behind(tokenizer, model_name, seconds) if tokenizer and is_address(each.path) else None,
            settings=settings,
            out=out,
            tasks=tuple(task or ()),
            clusters=tuple(cluster or ()),
            collection=collection,
            held_out_of=held_out_of,
            show_options=options,
            best_dev=best_dev,
            seed=seed,
            data_root=data_root,
            cards=tuple(catalog or ()),
        )
        with ScoreTable(each.path, lambda name: tasks[name].metrics[0], normalise) as table:
            done.append(evaluate_model(asking, processes, table.add))
    if rank() == 0:
        tell(done, normalise, as_json, by_template, cluster_mean=settings.cluster_mean)


def tell(
    evaluations: list[Evaluation],
    normalisation: Normalisation,
    as_json: bool,
    by_template: bool = False,
    to_compare: bool = True,
    left_out: Sequence[Unfinished] = (),
    cluster_mean: ClusterMean = "tasks",
) -> None:
    """Print each evaluation and, `to_compare` them, what the first differs by from each of the others; then which ones
    are left out because they are unfinished."""
    from rich.console import Console

    from openflan.report.evaluation import comparison, scores, unfinished
    from openflan.study.results import average, compare_evaluations, score_tasks

    first, *others = evaluations
    shown: list[dict[str, Any]] = []
    for each in evaluations:
        results, averages = score_tasks(each, normalisation), average(each, normalisation, cluster_mean)
        shown.append(
            {
                "model": each.record.model,
                "directory": str(each.folder),
                "normalisation": normalisation,
                "warning": each.record.warning,
                "reading": each.record.reading,
                "tasks": [result.model_dump() for result in results],
                "averages": [result.model_dump() for result in averages],
            }
        )
        if not as_json:
            Console().print(scores(each.record, results, averages, normalisation, by_template))
            print(f"Predictions: {each.folder}")
    compared = [
        (other, compare_evaluations(first, other, normalisation, cluster_mean)) for other in others if to_compare
    ]
    if as_json:
        differences = [
            {
                "first": first.record.model,
                "second": other.record.model,
                "tasks": [row.model_dump() for row in rows],
                "averages": [row.model_dump() for row in means],
            }
            for other, (rows, means) in compared
        ]
        without_scores = [
            {
                "directory": str(one.folder),
                "num_predictions": one.num_predictions,
                "num_expected": one.num_expected,
            }
            for one in left_out
        ]
        print(json.dumps({"evaluations": shown, "differences": differences, "unfinished": without_scores}, indent=1))
        return
    for other, (rows, means) in compared:
        Console().print(comparison(first, other, rows, means, normalisation))
    for one in left_out:
        print(unfinished(one))


def is_address(model: str) -> bool:
    """Whether a model lies behind a server and not in a folder."""
    return model.startswith(("http://", "https://"))


def _model_settings(
    path: str, tokenizer: str | None, separator: str | None, chat_template: bool | None, common: dict[str, object]
) -> ModelSettings:
    """How the model was tuned to be asked, and what was given instead."""
    from openflan.models.folder import model_folder, prompt_format
    from openflan.models.settings import ModelSettings

    if not is_address(path):
        how = prompt_format(model_folder(path))
    elif tokenizer is not None:
        how = prompt_format(Path(tokenizer))
    else:
        raise ConfigError(path, "no tokenizer for its model", "--tokenizer DIR", "See docs/servers.md.")
    if separator is not None:
        how = {"separator": separator, "chat_template": False}
    if chat_template is not None:
        how = {"chat_template": True} if chat_template else {**how, "chat_template": False}
    return files.parse(ModelSettings, {"path": path, **common, **how}, "eval")
