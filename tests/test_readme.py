"""The README is true: its commands run, its tables and trees name what is there."""

import re
import shlex
from typing import get_args

import pyarrow.parquet as pq
import pytest

from potstill.cli import main
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", README, re.S) for line in block.splitlines()]


def test_the_make_commands_are_run_by_ci():
    makes = [command for command in COMMANDS if command.startswith("make ")]
    assert makes == ["make demo", "make train", "make test"]
    assert all(command in CI.splitlines() for command in makes)


@pytest.mark.ray
def test_the_potstill_commands_run_as_they_stand(ray_session, tmp_path, monkeypatch, capsys):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("potstill ")]
    assert {command[0] for command in commands} >= {"validate", "show", "run", "status", "explain", "requeue", "report"}
    for command in commands:
        if "ID" in command:
            ids = pq.read_table("runs/score/samples/chunk-00000.parquet")["sample_id"].to_pylist()
            command = [ids[0] if word == "ID" else word for word in command]
        assert run(command) == 0, command
        assert capsys.readouterr().out.strip(), command


def run(command):
    """Exit code of a command, in this process."""
    try:
        main(command)
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_every_stage_is_named_and_has_a_row_in_the_table():
    from potstill.pipelines.catalogue import catalogue

    kinds = sorted(catalogue()["stages"])
    section = README.split("## Stages")[1].split("`potstill list`")[0]
    assert sorted(re.findall(r"`(\w+)`", section)) == kinds
    page = (ROOT / "docs/stages.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.M)) == kinds


def test_the_readme_keeps_to_its_length():
    assert len(README.splitlines()) <= 200


def test_every_recipe_and_every_loss_has_its_row():
    from potstill.models.losses.registry import AnyLoss
    from potstill.models.trainers.recipe import shipped_recipes

    losses = {loss.model_fields["kind"].default for loss in get_args(get_args(AnyLoss)[0])}
    page = (ROOT / "docs/losses.md").read_text(encoding="utf-8")
    assert {kind for row in re.findall(r"^\| (`.*?) \|", page, re.M) for kind in re.findall(r"`(\w+)`", row)} >= losses
    recipes = {name.removesuffix("-tiny") for name in shipped_recipes()}
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert {name for name in recipes if f"`{name}`" not in page} == set()


def test_every_linked_page_and_every_folder_of_the_tree_exists():
    for page in re.findall(r"\]\((docs/[\w.-]+)\)", README):
        assert (ROOT / page).is_file(), page
    for folder in re.findall(r"^(\w+/) +\S", README, re.M):
        assert (ROOT / folder).is_dir(), folder
