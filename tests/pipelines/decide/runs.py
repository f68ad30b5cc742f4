"""A finished run with scores that are easy to follow: ten pictures, solvability 5, match 0.0 to 0.9."""

from tests.pipelines.report import runs
from tests.toys import pictures

SAYS = {f"{number:04d}.png": {"solvability": 5, "match": number / 10} for number in range(10)}


def finished(tmp_path, monkeypatch, keep=None, more=(), says=SAYS, **settings):
    """The run's directory. Ten rows in chunks of four."""
    runs.know_the_double(monkeypatch)
    source = tmp_path / "in"
    if not source.exists():
        pictures(source, 10)
    plan = runs.make_plan(source, says, keep or {"low": "match >= 0.5"}, more=list(more), **settings)
    return runs.make_run(plan, tmp_path / "out")
