"""One finished run that the tests of this folder look at."""

import pytest

from tests.pipelines.report import runs
from tests.toys import pictures


@pytest.fixture
def toy_run(tmp_path, monkeypatch):
    """Ten pictures in chunks of four, a copy and an empty file; what becomes of each is said in ``runs.SAYS``."""
    runs.know_the_double(monkeypatch)
    source = pictures(tmp_path / "in", 10, captions={0: runs.HOSTILE})
    (source / "copy.png").write_bytes((source / "0003.png").read_bytes())
    (source / "empty.png").write_bytes(b"")
    return runs.make_run(runs.make_plan(source, runs.SAYS), tmp_path / "out")
