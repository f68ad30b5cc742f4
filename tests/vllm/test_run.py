"""The whole Oasis plan on real vLLM, by command line and Ray: a kill loses nothing, the texts equal the reference."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

PATIENCE = 900.0
MAIN = ROOT / ".venv" / "bin" / "python"
"""The driver's environment; the stages with a chat engine run in that of this test."""
ASKING = ("oasis_instruct", "oasis_judge", "respond")
ENGINE = "{kind: vllm, model: tiny, max_num_seqs: 32, max_model_len: 1024, kv_cache_gib: 0.25, enforce_eager: true}"
ROWS = 48


class Run:
    """``potstill run oasis-tiny`` in a process, with nothing drawn at random; on the shipped engine, or on vLLM."""

    def __init__(self, out, *, vllm):
        self.out, self._log = out, out.with_suffix(".log")
        settings = ["stages.oasis_instruct.hook.temperature=0"]
        if vllm:
            settings += [f"stages.{name}.engine={ENGINE}" for name in ASKING]
            settings += [f"resources.{name}.python={sys.executable}" for name in ASKING]
        command = [str(MAIN), "-m", "potstill", "run", "oasis-tiny", "--out", str(out), "source.path=samples"]
        with self._log.open("wb") as log:
            self.process = psutil.Popen(
                [*command, "run.chunk_rows=16", *settings], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def family(self):
        """Process -> its command line."""
        found = {}
        for child in self.process.children(recursive=True):
            try:
                found[child] = " ".join(child.cmdline())
            except psutil.Error:
                continue
        return found

    def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, self._log.read_text(errors="replace")
            time.sleep(0.02)

    def finish(self):
        """What came of the samples and of the run."""
        assert self.process.wait(PATIENCE) == 0, self._log.read_text(errors="replace")
        parts = [pq.read_table(path) for path in sorted((self.out / "samples").glob("*.parquet"))]
        names = [name for name in parts[0].column_names if not name.startswith("clip")]
        samples = pa.concat_tables([part.select(names) for part in parts], promote_options="default")
        return samples.sort_by("sample_id").to_pylist(), json.loads((self.out / "run.json").read_text())


def kill_while_computing(run):
    """SIGKILL the actor of the chat stages when it has begun; what was left of its processes after that."""
    run.until(lambda: list(run.out.glob(".inflight/*/oasis_instruct-*.json")))
    family = run.family()
    engine = [process for process, line in family.items() if "VLLM::" in line]
    actors = [process for process, line in family.items() if "MapWorker(MapBatches(oasis_instruct" in line]
    assert len(engine) >= 2 and len(actors) == 1
    actors[0].send_signal(signal.SIGKILL)
    return [process for process in psutil.wait_procs(engine, timeout=30)[1] if process.is_running()]


def test_the_oasis_plan_loses_no_row_to_a_kill_and_says_what_transformers_says(tmp_path):
    samples, record = Run(tmp_path / "calm", vllm=False).finish()
    disturbed = Run(tmp_path / "killed", vllm=True)
    left = kill_while_computing(disturbed)
    again, record_again = disturbed.finish()

    assert left == []
    assert again == samples
    assert record_again["content_hash"] == record["content_hash"]
    assert len(samples) == ROWS and not [row for row in samples if row["error"]]
    for stage in record["stages"]:
        assert stage["in"] == stage["kept"] + sum(stage["dropped"].values()) + stage["quarantined"]
    assert 0 < record["rows"] <= ROWS
    answered = [row for row in samples if row["response"]]
    assert len(answered) >= record["rows"]
    assert all(row["instruction"] in row["oasis_instruct_hook"] for row in answered)
    assert all(row["respond_prompt_tokens"] > 0 and row["nonsense"] == 5 for row in answered)
    assert not [process for process in psutil.process_iter() if _belongs(process, tmp_path)]


def _belongs(process, folder):
    """Whether a process of a finished run is still there."""
    try:
        return str(folder) in " ".join(process.cmdline()) and process.pid != os.getpid()
    except psutil.Error:
        return False
