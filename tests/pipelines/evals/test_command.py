"""`potstill eval` from the command line: exit codes, table, files; nothing heavy for what needs no model."""

import json

import pyarrow.parquet as pq

from tests.pipelines.evals.conftest import PICTURES
from tests.pipelines.evals.rows import png, write
from tests.test_structure import RUN, loaded


def test_a_run_is_measured_with_the_embedded_clip(call, sample_run, tmp_path):
    path, out = f"data.path={sample_run}", tmp_path / "out"
    code, printed, err = call("-q", "eval", "clip", path, "label=meta_label", "resamples=100", "--out", out)
    lines = printed.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["metric", "value", "95", "%", "interval", "n"]
    assert [line.split()[0] for line in lines[1:10]] == [
        "rankme_pictures", "rankme_texts", "picture_to_text_r@1", "picture_to_text_r@5", "text_to_picture_r@1",
        "text_to_picture_r@5", "zero_shot_top1", "zero_shot_top5", "zero_shot_per_class",
    ]  # fmt: skip
    result = json.loads((out / "eval.json").read_text())
    assert f"{result['metrics']['zero_shot_top1']['value']:.3f}" == lines[7].split()[1]
    assert lines[-1] == f"{out}/eval.json, {out}/eval-rows.parquet"
    assert pq.read_table(out / "eval-rows.parquet").num_rows == result["rows"] == PICTURES


def test_wrong_requests_end_with_2_and_too_many_failures_with_3(call, tmp_path):
    folder = write(tmp_path / "in", image=[png("red"), b"x"], caption=["a", "b"])
    path = f"data.path={folder}"
    assert call("eval", "clip", path) == (2, "", "potstill: give a folder for the result: --out DIR\n")
    code, _, err = call("-q", "eval", "clip", path, "text=[words]", "--out", tmp_path)
    assert code == 2 and "no column 'words'; columns there: image, caption" in err
    code, _, err = call("-q", "eval", "clip", path, "model=local-dir:/nowhere", "--out", tmp_path)
    assert code == 2 and "model 'local-dir:/nowhere'" in err
    code, _, err = call("-q", "eval", "clap", path, "--out", tmp_path)
    assert code == 2 and "no recipe 'clap'" in err
    code, _, err = call("-q", "eval", "clip", path, "--out", tmp_path)
    assert code == 3 and "1 of 2 rows failed" in err


def test_scores_and_predictions_need_neither_ray_nor_torch(tmp_path):
    folder = write(tmp_path / "in", label=["a", "b"], said=["a", "a"], clarity=[1, 5])
    for settings in (["judge", "scores=[clarity]"], ["classifier", "prediction=said"]):
        arguments = ["eval", *settings, f"data.path={folder}", "--out", str(tmp_path)]
        assert loaded(RUN.format(arguments=arguments)) == []
    assert json.loads((tmp_path / "eval.json").read_text())["metrics"]["top1"]["value"] == 0.5
