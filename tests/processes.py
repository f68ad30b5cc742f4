"""Runs in processes of their own, so that they can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 240.0
"""Seconds that anything may take on a loaded machine."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


def environment() -> dict[str, str]:
    """Ours, with the repository on the path."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def write_plan(path: Path, source: Path, stages, **settings) -> Path:
    """A plan file over a folder."""
    tree = {"source": {"kind": "folder", "path": str(source)}, "stages": stages, "run": {"chunk_rows": 4}}
    tree["run"] |= settings.pop("run", {})
    path.write_text(yaml.safe_dump(tree | settings))
    return path


class Process:
    """A ``potstill run`` in a process."""

    def __init__(self, plan: Path, out: Path, *overrides: str, module: str = "tests.toy_main") -> None:
        self._log = out.parent / f"{out.name}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", module, "run", str(plan), "--out", str(out), *overrides],
                stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment(),
            )  # fmt: skip

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def until(self, condition) -> bool:
        """Wait for a condition; whether the process was still alive when it came true."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if condition():
                return True
            assert time.monotonic() < end, f"nothing happened in {PATIENCE} s: {self.output}"
            time.sleep(0.02)
        return False

    def wait(self) -> int:
        """Exit code, once it and all its processes are gone."""
        family = self._family()
        code = self.process.wait(PATIENCE)
        _gone(family)
        return code

    def end(self, number: int) -> int:
        """Send a signal to the driver alone; exit code, once all its processes are gone."""
        family = self._family()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        _gone(family)
        return code

    def kill_worker(self, name: str) -> None:
        """SIGKILL one actor of a stage."""
        workers = [child for child in self._family() if f"ray::MapWorker(MapBatches({name}" in " ".join(command(child))]
        assert workers, [command(child) for child in self._family()]
        workers[0].send_signal(signal.SIGKILL)

    def _family(self) -> list[psutil.Process]:
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def command(process: psutil.Process) -> list[str]:
    """Its words; none once it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _gone(family: list[psutil.Process]) -> None:
    """No process may stay behind, but for two of Ray's own that look for their dead head node for a minute."""
    commands = {process: command(process)[:1] for process in family}
    workers = [process for process, command in commands.items() if not set(command) & set(AGENTS)]
    alive = [each for each in psutil.wait_procs(workers, timeout=60)[1] if each.status() != psutil.STATUS_ZOMBIE]
    assert not alive, [command(process)[:3] for process in alive]


def result(out: Path) -> dict:
    """What ``run.json`` holds."""
    return json.loads((out / "run.json").read_text())
