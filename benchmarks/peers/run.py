"""Potstill and its peers on the same files, one after the other in turn, and a table in Markdown.

    python -m benchmarks.peers.run --work DIR [--rows 1000] [--repeat 3] [--tasks size dedup clip] [--unreadable 0 0.01]
    python -m benchmarks.peers.run --work DIR --setup

Processor seconds (user and system) of the whole process tree, start included, as wall time says nothing on a machine
that others use. Linux alone. Each measurement is one line of ``DIR/measured.jsonl``, so that a run can be stopped and
continued: what is there is not measured again. Every repeat goes through all shares of unreadable files, every second
one with the tools in reverse. ``--setup`` only makes the environments, below ``DIR``; ``--print`` only prints the
tables of what is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks.peers import data
from benchmarks.peers.cpu import Cost, measure
from benchmarks.peers.environments import PEERS, Peer, setup

HERE = Path(__file__).parent
OURS, START, HEADERS = "Potstill", "Potstill, no stage", "Potstill, headers only"
LIMIT = 1800.0
STAGES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "size": [{"kind": "filter", "keep": {"narrow": "width <= 3 * height and height <= 3 * width",
                                         "small": "width >= 200 and height >= 200"}}],
    "dedup": [{"kind": "unique", "key": "image_id"}, {"kind": "phash"}, {"kind": "near_duplicates"}],
    "clip": [{"kind": "clip_score", "text": ["caption"]}],
}  # fmt: skip


def main() -> None:
    """Measure what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=["size", "dedup", "clip"])
    parser.add_argument("--unreadable", type=float, nargs="+", default=[0.0, 0.001, 0.01, 0.05])
    parser.add_argument("--environments", type=Path, help="folder of the peers' environments; DIR/environments")
    parser.add_argument("--tools", nargs="+", help="names in the table; all unless given")
    parser.add_argument("--setup", action="store_true")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not options.print:
        root = (options.environments or work / "environments").resolve()
        pythons = {peer.name: setup(peer, root) for peer in PEERS}
        for repeat in range(0 if options.setup else options.repeat):
            for share in options.unreadable:
                for task in options.tasks:
                    _round(work, task, share, options.rows, repeat, pythons, options.tools)
    print(report(read(work)))


def read(work: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    file = work / "measured.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _round(
    work: Path,
    task: str,
    share: float,
    rows: int,
    repeat: int,
    pythons: dict[str, Path | None],
    tools: list[str] | None = None,
) -> None:
    """Everybody once."""
    folder = work / f"data-{rows}-{share:g}"
    if not (folder / "truth.json").exists():
        data.write(folder, rows, share)
    truths = [data.Truth(**each) for each in json.loads((folder / "truth.json").read_text())]
    ours = [OURS, START, HEADERS] if task == "size" else [OURS]
    names = [*ours, *(peer.name for peer in PEERS if task in peer.tasks and pythons[peer.name])]
    there = {(each["tool"], each["task"], each["share"], each["repeat"]) for each in read(work)}
    for name in names if repeat % 2 == 0 else names[::-1]:
        if (name, task, share, repeat) in there or (tools and name not in tools):
            continue
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if name in ours:
            cost, kept = _ours("nothing" if name == START else task, folder, out, work, headers=name == HEADERS)
        else:
            peer = next(peer for peer in PEERS if peer.name == name)
            cost, kept = _theirs(peer, pythons[name], task, folder, out, work)
        line = {"tool": name, "task": task, "share": share, "repeat": repeat, "rows": rows, "cpu": round(cost.cpu, 2),
                "wall": round(cost.wall, 1), "status": cost.status, **data.verdict(truths, kept, task)}  # fmt: skip
        with (work / "measured.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), file=sys.stderr, flush=True)


def _ours(task: str, folder: Path, out: Path, work: Path, *, headers: bool) -> tuple[Cost, set[str]]:
    stages = [dict(stage) for stage in STAGES[task]]
    if task == "clip":
        stages[0]["model"] = f"local-dir:{_model(work, 'open_clip', Path(sys.executable))}"
    plan = {"source": {"kind": "jsonl", "path": str(folder / "rows.jsonl")}, "stages": stages,
            "intake": {"decode": "header" if headers else "full"}, "run": {"max_error_fraction": 0.2}}  # fmt: skip
    (out / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "potstill", "run", str(out / "plan.yaml"), "--out", str(out / "run")]
    cost = measure(command, work / "log", LIMIT, {"RAY_AUTH_MODE": "disabled"})
    parts = sorted((out / "run" / "dataset").glob("*.parquet"))
    sources = [source for part in parts for source in pq.read_table(part, columns=["source"])["source"].to_pylist()]
    lines = (folder / "rows.jsonl").read_text().splitlines()
    return cost, {Path(json.loads(lines[int(source.rpartition("#")[2]) - 1])["image"]).name for source in sources}


def _theirs(peer: Peer, python: Path | None, task: str, folder: Path, out: Path, work: Path) -> tuple[Cost, set[str]]:
    options = list(peer.options)
    if task == "clip":
        options.append(str(_model(work, "hf", Path(str(python)))))
    elif peer.options:
        options.append("none")
    command = [str(python), str(HERE / peer.driver), task, str(folder), str(out / "kept.json"), *options]
    cost = measure(command, work / "log", LIMIT, {"HF_HUB_OFFLINE": "1"})
    file = out / "kept.json"
    return cost, set(json.loads(file.read_text())) if file.exists() else set()


def _model(work: Path, form: str, python: Path) -> Path:
    """The CLIP folder of one form, made once, outside of what is measured."""
    folder = work / f"clip-{form}"
    if not folder.exists():
        cost = measure([str(python), str(HERE / "clip_models.py"), form, str(folder)], work / "log", LIMIT)
        if cost.status:
            raise RuntimeError(f"no CLIP model in the form {form}: {(work / 'log').read_text()[-500:]}")
    return folder


def report(lines: list[dict[str, Any]]) -> str:
    """Tables: cost and what was kept by task, and kept rows by share of unreadable files."""
    if not lines:
        return "nothing measured yet"
    parts: list[str] = []
    for task in dict.fromkeys(line["task"] for line in lines):
        shares = sorted({line["share"] for line in lines if line["task"] == task})
        parts.append(f"\n### {task}\n")
        parts.append("| tool | unreadable | CPU ms a row | runs | kept of | good lost | recall | precision | exit |")
        parts.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for share in shares:
            for tool in dict.fromkeys(line["tool"] for line in lines if line["task"] == task):
                same = [line for line in lines if (line["task"], line["share"], line["tool"]) == (task, share, tool)]
                if same:
                    parts.append(_line(tool, share, same))
    return "\n".join(parts)


def _line(tool: str, share: float, same: list[dict[str, Any]]) -> str:
    each = [1000 * line["cpu"] / line["rows"] for line in same]
    spread = f"{median(each):.1f}" + (f" ({min(each):.1f} to {max(each):.1f})" if len(each) > 1 else "")
    last = same[-1]
    cells: list[Any] = [tool, f"{100 * share:g} %", spread, len(same)]
    if tool == START:
        return f"| {' | '.join(map(str, [*cells, '', '', '', '', last['status']]))} |"
    found = (f"{last[name]:.3f}" if name in last and last["kept"] else "" for name in ("recall", "precision"))
    cells += [f"{last['kept']} of {last['should']}", last["good_lost"], *found, last["status"]]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
