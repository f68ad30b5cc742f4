"""`ray job submit` on a real cluster of one node, as the README says."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.toys import pictures

pytestmark = pytest.mark.ray
BIN = Path(sys.executable).parent
START_SECONDS = 180


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def dashboard(tmp_path_factory):
    """Address of the job server of a head node that lives for one test."""
    port, gcs = free_port(), free_port()
    folder = tmp_path_factory.mktemp("ray")
    short = tempfile.mkdtemp(prefix="potstill-")  # a path of a Unix socket may have 107 bytes only
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    options = {
        "--port": gcs,
        "--dashboard-host": "127.0.0.1",
        "--dashboard-port": port,
        "--ray-client-server-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
        "--num-cpus": 4,
        "--object-store-memory": 100_000_000,
        "--temp-dir": short,
    }
    words = [f"{key}={value}" for key, value in options.items()]
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(
            [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats", *words],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/version", head)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
        shutil.rmtree(short, ignore_errors=True)


def wait_for(url, process):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the head node ended at once"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise TimeoutError(url)


def test_a_submitted_job_runs_on_the_cluster_and_leaves_the_dataset(dashboard, tmp_path):
    source, out = pictures(tmp_path / "in", 5, captions={0: "a plain picture"}), tmp_path / "out"
    entry = ["potstill", "run", "score-tiny", "--out", str(out), f"source.path={source}"]
    done = subprocess.run(
        [BIN / "ray", "job", "submit", "--address", dashboard, "--", *entry],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads((out / "run.json").read_text())
    assert (result["state"], result["rows"]) == ("done", 5)
    assert "5 rows in" in done.stdout
