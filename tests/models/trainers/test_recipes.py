"""The recipes that are shipped: each is whole, says what it is, and its command names itself."""

import re

import pytest

from potstill.models.trainers.launch import find_recipe, load_recipe
from potstill.models.trainers.recipe import shipped_recipes

SHIPPED = shipped_recipes()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_is_whole(name):
    recipe = load_recipe(find_recipe(name), [])
    assert recipe.columns() and recipe.total_steps(10_000) > 0
    text = SHIPPED[name].read_text(encoding="utf-8")
    for word in ("What", "Paper", "Command", "Cost", "Expect"):
        assert re.search(rf"^# {word}: ", text, re.MULTILINE), f"{name} does not say {word}"
    command = re.search(r"^# Command: potstill train (\S+) (.*)$", text, re.MULTILINE)
    assert command and command[1] == name
    given = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', command[2].split(" --out")[0])]
    load_recipe(find_recipe(name), given)
