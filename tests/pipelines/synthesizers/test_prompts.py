"""Prompts are files with a version; what fills them is never read as a prompt."""

import pytest

from potstill.pipelines.synthesizers import prompts
from potstill.pipelines.synthesizers.prompts import Prompt, load, parse

NAMES = sorted(path.stem for path in prompts.FOLDER.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_prompt_has_a_version_and_places(name):
    assert load(name).version >= 1
    assert load(name).places


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("oasis_")])
def test_the_prompts_of_oasis_have_one_place_at_their_end(name):
    prompt = load(name)
    place = "text" if name == "oasis_extract" else "instruction"
    assert prompt.text.endswith(f": {{{place}}}")
    assert prompt.text.count("{") == 1
    assert prompt.fill(**{place: "What is it?"}).endswith(": What is it?")


def test_values_are_put_in_as_they_are():
    prompt = Prompt("p", 1, "{first} and {second}, {Not} {0} {}")
    filled = prompt.fill(first="{second} {0} \\1 {", second="{first}}}")
    assert filled == "{second} {0} \\1 { and {first}}}, {Not} {0} {}"


def test_a_missing_or_unknown_value_is_an_error():
    with pytest.raises(KeyError, match="second"):
        Prompt("p", 1, "{first} {second}").fill(first="")
    with pytest.raises(KeyError, match="no place for third"):
        Prompt("p", 1, "{first}").fill(first="", third="")


def test_version_and_text_are_the_identity():
    one = parse("p", "version: 2\n---\nHello\n---\n{x}\n")
    assert (one.version, one.text) == (2, "Hello\n---\n{x}")
    assert one.identity() == {"name": "p", "version": 2, "digest": one.digest}
    assert one.digest != parse("p", "version: 2\n---\nHello \n---\n{x}\n").digest


@pytest.mark.parametrize("content", ["", "Hello", "version: one\n---\nHello", "version: 1\n---\n", "---\nHello"])
def test_a_file_of_another_form_is_refused(content):
    with pytest.raises(ValueError, match="prompt 'p' must be"):
        parse("p", content)
