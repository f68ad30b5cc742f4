"""Settings of the whole test run, and the one Ray session that tests share."""

import logging
import os
import signal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.update(
    RAY_AUTH_MODE="disabled",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_DEDUP_LOGS="1",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores interrupts, and so would the runs that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402 (Ray and the tokenizers read the environment when they are imported)

START_TRIES = 3


def _import_ray_data():
    """What every worker imports first: interrupted by the end of a failing run, it would fail there for good."""
    import time

    import ray.data  # noqa: F401

    time.sleep(1)


@pytest.fixture(autouse=True)
def _own_log_level():
    """A command sets how much is logged; the next test shall not notice."""
    ours = logging.getLogger("potstill")
    before = ours.level
    yield
    ours.setLevel(before)


@pytest.fixture
def call(capsys):
    """Runs a command in this process; returns exit code, output, errors."""
    from potstill.cli import main

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return call


@pytest.fixture(scope="session")
def ray_session():
    """A local Ray with more logical CPUs than there are. Starting it can time out on a loaded machine: tried again."""
    import ray

    _warm = ray.remote(num_cpus=1)(_import_ray_data)
    for attempt in range(START_TRIES):
        try:
            ray.init(
                address="local",
                num_cpus=4,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=200 * 2**20,
            )
            break
        except Exception:
            ray.shutdown()
            if attempt == START_TRIES - 1:
                raise
    ray.get([_warm.remote() for _ in range(4)])
    yield
    ray.shutdown()
