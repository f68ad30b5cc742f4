"""Processor time of a process and of what it leaves behind: in a process of its own, as it waits for all children."""

import json
import subprocess
import sys

from tests.conftest import ROOT

BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
MEASURE = """
import dataclasses, json, sys
from pathlib import Path
from benchmarks.peers.cpu import measure
cost = measure([sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]), float(sys.argv[3]))
print(json.dumps(dataclasses.asdict(cost)))
"""


def measured(code, log, limit=60.0):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, code, str(log), str(limit)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_time_of_a_daemon_counts_too(tmp_path):
    daemon = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}], start_new_session=True)"
    cost = measured(daemon, tmp_path / "log")
    assert cost["cpu"] >= 0.3
    assert cost["status"] == 0


def test_the_time_of_a_child_counts_whose_parent_ignores_its_end(tmp_path):
    burn = BURN.replace("0.3", "0.6")
    deaf = f"""
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {burn!r}]).wait()
"""
    assert measured(deaf, tmp_path / "log")["cpu"] >= 0.5


def test_a_command_that_fails_says_so_and_one_that_takes_too_long_is_ended(tmp_path):
    assert measured("raise SystemExit(3)", tmp_path / "log")["status"] == 3
    assert measured("import time; time.sleep(600)", tmp_path / "log", 0.5)["status"] == 124
    assert measured("print('hello')", tmp_path / "log")["status"] == 0
    assert (tmp_path / "log").read_text() == "hello\n"
