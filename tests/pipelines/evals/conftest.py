"""A run over some of the shipped pictures, made once."""

import json
import shutil

import pytest

from potstill.pipelines.plan import Plan
from tests.conftest import ROOT
from tests.pipelines.report.runs import make_run

PICTURES = 20


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """A run directory of :data:`PICTURES` pictures with captions, ``meta_label``, questions and no answers."""
    folder = tmp_path_factory.mktemp("samples")
    samples = ROOT / "samples"
    labels = [json.loads(line) for line in (samples / "labels.jsonl").read_text().splitlines()]
    captions = [json.loads(line) for line in (samples / "captions.jsonl").read_text().splitlines()]
    said = {row["image"]: row["caption"] for row in captions}
    records = []
    for row in labels[:PICTURES]:
        shutil.copy(samples / row["image"], folder)
        asked = {
            "instruction": "What does the picture show?",
            "caption": said.get(row["image"]),
            "label": row["caption"],
        }
        records.append(json.dumps({"image": row["image"], **asked}))
    (folder / "rows.jsonl").write_text("\n".join(records))
    source = {"kind": "jsonl", "path": str(folder / "rows.jsonl")}
    return make_run(Plan.model_validate({"source": source, "stages": []}), folder / "run")
