"""The command line. Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 3 too many rows in quarantine."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from potstill import __version__, learning
from potstill.config import Interrupted, RequestError

EXIT_CODES = {
    "RunFailed": 1,
    "TrainFailed": 1,
    "ConservationError": 1,
    "DamagedFile": 1,
    "Interrupted": 1,
    "TooManyErrors": 3,
}
"""Expected errors by the name of their class, so that no module is imported only to compare."""

app = typer.Typer(
    help="Raw images into training sets, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

PlanArgument = Annotated[str, typer.Argument(help="A plan: a YAML file, or the name of a shipped plan.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to the plan, such as stages.gate.keep='a > 1'.")]
Directory = Annotated[str, typer.Argument(help="A run directory: a path or an fsspec URL.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
) -> None:
    """Set up logging for every command."""
    if version:
        print(__version__)
        raise typer.Exit
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    logging.getLogger("potstill").setLevel(level)


@app.command()
def validate(plan: PlanArgument, overrides: Overrides = None) -> None:
    """Check a plan; every mistake is reported at once. Loads no model, starts nothing."""
    loaded = _load(plan, overrides)
    print(f"{plan}: valid, {len(loaded.stages)} stages: {', '.join(stage.name for stage in loaded.stages)}")


@app.command()
def show(plan: PlanArgument, overrides: Overrides = None) -> None:
    """Print the resolved plan, all defaults filled in."""
    import yaml

    print(yaml.safe_dump(_load(plan, overrides).model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a plan, for editors and checks."""
    from potstill.pipelines.plan import Plan

    print(json.dumps(Plan.model_json_schema(), indent=2))


@app.command("list")
def list_units() -> None:
    """List the shipped plans, and the kinds of sources, stages and sinks."""
    from potstill.pipelines.catalogue import catalogue

    for group, units in catalogue().items():
        print(f"{group}:")
        for name, line in units.items():
            print(f"  {name:<16} {line}")


@app.command()
def run(
    plan: PlanArgument,
    overrides: Overrides = None,
    out: Annotated[str, typer.Option("--out", "-o", help="Run directory: a path or an fsspec URL.")] = "",
    ray: Annotated[str, typer.Option(help="local, auto, or host:port of a cluster.", envvar="POTSTILL_RAY")] = "",
) -> None:
    """Run a plan, or go on with a run: what stands in the directory is not computed again."""
    from potstill.pipelines.runner import run_plan

    if not out:
        raise RequestError("give a run directory: --out DIR")
    loaded = _load(plan, overrides)
    try:
        result = run_plan(loaded, out, ray or ("auto" if os.environ.get("RAY_ADDRESS") else "local"))
    except KeyboardInterrupt:  # caught here because Typer would end the process with no word
        raise Interrupted("interrupted; the same command goes on from here") from None
    print(_table(result))
    print(f"{result['rows']} rows in {out}/dataset, content hash {result['content_hash']}")
    print(f"report: {_write_report(out)}")


@app.command()
def status(directory: Directory) -> None:
    """Say how far a run is, or how it ended."""
    from potstill.pipelines.inspect import status_of

    found = status_of(directory)
    print(_table(found))
    print(f"{found['state']}: {found['chunks_done']} of {found['chunks']} chunks")
    if found.get("error"):
        print(found["error"])


@app.command()
def explain(
    directory: Directory,
    row: Annotated[str, typer.Argument(help="Sample id, image id, or the source of a row; a prefix of an id will do.")],
) -> None:
    """Say why a row is in the dataset or not, stage by stage, with its scores."""
    from potstill.pipelines.inspect import explain_row

    for line in explain_row(directory, row):
        print(line)


@app.command()
def decide(
    directory: Directory,
    changes: Annotated[
        list[str] | None, typer.Argument(help="Overrides such as gate.keep.low='a > 1', a plan.")
    ] = None,
    also: Annotated[list[str] | None, typer.Option(help="One more condition, at the end; may be repeated.")] = None,
    curve: Annotated[str, typer.Option(help="A column of numbers whose thresholds are listed.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what other filters or selectors would keep, from stored columns. Runs no model, writes nothing."""
    from potstill.pipelines.decide import preview, text

    found = preview.preview(directory, changes or [], also or [], curve or None)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False, default=str))
        return
    for line in text.lines(found, directory):
        print(line)


@app.command()
def requeue(
    directory: Directory,
    stage: Annotated[str, typer.Option(help="Only rows that failed in this stage.")] = "",
) -> None:
    """Take rows out of quarantine, so that the next run tries them again."""
    from potstill.pipelines.inspect import requeue_rows

    count = requeue_rows(directory, stage or None)
    print(f"{count} rows will be tried again by the next `potstill run` on {directory}")


@app.command()
def report(directory: Directory) -> None:
    """Write report.html anew from what stands in the directory."""
    print(_write_report(directory))


@app.command()
def calibrate(
    directory: Directory,
    verdict: Annotated[str, typer.Argument(help="The judge's verdict: a column, or a condition ('clarity < 3').")],
    truth: Annotated[str, typer.Argument(help="The truth: a column, or a condition ('meta_flaw is not None').")],
    labels: Annotated[Path | None, typer.Option(help="JSONL file of objects with `source` and what is true.")] = None,
) -> None:
    """Compare a judge's verdicts in a run with the truth: agreement, kappa, precision, recall, position bias."""
    from potstill.pipelines.report.calibration import calibrate

    for number, table in enumerate(calibrate(directory, verdict, truth, labels)):
        print(("\n" if number else "") + _aligned(table))


app.command()(learning.train)
app.command("eval")(learning.evaluate)


def _load(plan: str, overrides: list[str] | None) -> Any:
    from potstill.pipelines.plan import find_plan, load_plan

    return load_plan(find_plan(plan), overrides or [])


def _write_report(directory: str) -> str:
    from potstill.pipelines.report.report import write_report

    return write_report(directory)


def _table(result: dict[str, Any]) -> str:
    """Rows in and out of each stage, as text."""
    head = ("stage", "in", "kept", "dropped", "duplicate", "quarantined", "computed", "seconds")
    rows = [head]
    for stage in result["stages"]:
        dropped = ", ".join(f"{reason} {count}" for reason, count in stage["dropped"].items()) or "0"
        values = (stage["in"], stage["kept"], dropped, stage["duplicate"], stage["quarantined"])
        rows.append((stage["name"], *map(str, values), str(stage["computed"]), f"{stage['seconds']:.1f}"))
    return _aligned(rows)


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows as text, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run a command; an expected error becomes one message and its exit code."""
    try:
        app(arguments)
    except RequestError as error:
        sys.exit(_fail(error, 2))
    except Exception as error:
        code = EXIT_CODES.get(type(error).__name__)
        if code is None:
            raise
        _fail(error, code)
        if isinstance(error, Interrupted):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # threads may still be at a batch that nobody waits for
        sys.exit(code)


def _fail(message: object, code: int) -> int:
    print(f"potstill: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
