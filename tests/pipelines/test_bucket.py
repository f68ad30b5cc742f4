"""A whole run on an object store: a real S3 protocol server on this machine. Needs ``s3fs`` and ``moto[server]``."""

import pytest

from potstill.config import RequestError
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import run_plan
from tests.toys import ToyPlan, pictures

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def bucket(monkeypatch):
    """URL of an empty bucket; workers find the server through their environment."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.config.set_conf_env(fsspec.config.conf)
    name = f"bucket-{port}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    fsspec.config.conf.pop("s3", None)
    server.stop()


def test_a_run_in_a_bucket_equals_a_run_on_a_disk_and_computes_nothing_twice(bucket, tmp_path):
    tree = {
        "source": {"kind": "folder", "path": str(pictures(tmp_path / "in", 9))},
        "stages": [{"kind": "toy"}, {"kind": "toy", "name": "second", "offset": 1}],
        "run": {"chunk_rows": 4},
    }
    plan = ToyPlan.model_validate(tree)
    first = run_plan(plan, f"{bucket}/out")
    again = run_plan(plan, f"{bucket}/out")
    disk = run_plan(plan, str(tmp_path / "out"))
    assert first["rows"] == 9
    assert first["content_hash"] == again["content_hash"] == disk["content_hash"]
    assert [stage["computed"] for stage in again["stages"]] == [0, 0, 0]
    assert len([name for name in RunDir(f"{bucket}/out").list("dataset") if name.endswith(".parquet")]) == 3
    assert not RunDir(f"{bucket}/out").exists(".lock")


def test_a_write_to_a_bucket_that_fails_half_way_leaves_the_old_object_and_a_lease_keeps_others_out(bucket):
    run = RunDir(f"{bucket}/run")
    run.write_bytes("file", b"old")
    with pytest.raises(ZeroDivisionError):
        run.write("file", lambda file: (file.write(b"new"), 1 / 0))
    assert run.read_bytes("file") == b"old"
    with run.lock(), pytest.raises(RequestError, match="is in use by process"), RunDir(run.url).lock():
        raise AssertionError("two runs held one lease")


def test_a_bucket_that_is_not_there_is_refused_and_not_made(bucket):
    import fsspec

    with pytest.raises(RequestError, match="cannot write to s3://buckett/run"):
        RunDir("s3://buckett/run").check_writable()
    assert not fsspec.filesystem("s3").exists("buckett")
