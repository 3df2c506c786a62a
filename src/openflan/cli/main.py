"""The command line: every command parses, calls and prints. A user's mistake is one paragraph and exit code 2."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import time
from typing import Annotated

import typer

from openflan.cli import catalog, config, data, interop, results, runs
from openflan.cli.eval import evaluate
from openflan.cli.plan import plan
from openflan.cli.preview import preview
from openflan.environment import launched_as
from openflan.errors import ConfigError, OpenFlanError

STOPPED = 130  # what typer makes of Ctrl-C, without a word
TERMINATED = 128 + signal.SIGTERM
SECONDS_FOR_RANK_0 = 5

app = typer.Typer(
    name="openflan",
    help="Instruction-tune a language model and see whether it generalises to kinds of task it has never seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(catalog.app, name="tasks")
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(results.app, name="results")
app.add_typer(interop.exports, name="export")
app.command()(runs.demo)
app.command()(runs.run)
app.command()(preview)
app.command()(plan)
app.command()(runs.pretrain)
app.command()(runs.train)
app.command("eval")(evaluate)
app.command("import")(interop.import_card)
app.command()(runs.report)


def _version(wanted: bool) -> None:
    if wanted:
        from openflan import __version__

        print(f"openflan {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `openflan` command."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show, such as é in ASCII, is shown escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=[_home_expanded(argument) for argument in sys.argv[1:]])
    except (OpenFlanError, OSError) as exc:
        if isinstance(exc, OSError) and exc.filename is None:
            raise  # of no file: a bug of ours
        if not _is_first():
            time.sleep(SECONDS_FOR_RANK_0)  # it tells; if it does not fail, the launcher has not ended this one yet
        print(f"openflan: {exc if isinstance(exc, OpenFlanError) else _of_file(exc)}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, SystemExit) as exc:
        code = exc.code if isinstance(exc, SystemExit) else STOPPED
        if code in (STOPPED, TERMINATED) and _is_first():
            print("openflan: stopped; the same command continues where it was.", file=sys.stderr)
        raise SystemExit(code) from None


def _is_first() -> bool:
    try:
        return launched_as()[0] == 0
    except ConfigError:
        return True


def _home_expanded(argument: str) -> str:
    """With `~` written out where no shell does it: `--out=~/x`, `--set model.path=~/x`."""
    option, equals, value = argument.partition("=")
    if equals and re.fullmatch(r"[\w.-]+", option):
        return option + equals + os.path.expanduser(value)
    return os.path.expanduser(argument)


def _of_file(exc: OSError) -> OpenFlanError:
    """A file that could not be used, where nothing more is known of what it is for."""
    return OpenFlanError(exc.filename, exc.strerror or str(exc), "a file or folder that can be used")


def _terminate(*_: object) -> None:
    """End in good order, as after Ctrl-C: jobs are asked to save what they have."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    main()
