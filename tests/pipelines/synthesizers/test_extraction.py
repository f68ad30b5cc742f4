"""An instruction is taken over only as the model wrote it, and only whole."""

import pytest

from potstill.pipelines.synthesizers.extraction import extracted
from potstill.pipelines.synthesizers.synthesizer import Reject, UnparsableReply

HOOKED = "A red car. How many wheels can you see? "


def read(reply, hooked=HOOKED, complete=True, whole=True, verbatim=True):
    return extracted(reply, hooked, complete=complete, whole=whole, verbatim=verbatim)


@pytest.mark.parametrize(
    "reply",
    [
        "How many wheels can you see?",
        "  how many wheels can you see \n",
        '"How many wheels can you see?"',
        "```\nHow many wheels can you see?\n```",
    ],
)
def test_an_instruction_is_unwrapped(reply):
    assert read(reply).casefold().rstrip("?") == "how many wheels can you see"


def test_words_of_any_script_are_compared():
    assert read("有几个轮子", hooked="一辆红色的车。有几个轮子") == "有几个轮子"


@pytest.mark.parametrize("reply", ["NO_INST", " NO_INST.", "`NO_INST`", "The text only describes: NO_INST"])
def test_no_instruction_is_a_rejection(reply):
    assert read(reply) == Reject("no_instruction")


def test_an_instruction_that_is_cut_off_is_a_rejection():
    assert read("How many wheels", complete=False) == Reject("truncated_instruction")
    assert read("How many wheels can you", hooked="A car. How many wheels can you", whole=False) == Reject(
        "truncated_instruction"
    )
    assert read("How many wheels can you see?", hooked=HOOKED + "It is a very", whole=False).startswith("How")


def test_an_instruction_that_the_model_did_not_write_is_a_rejection():
    assert read("Ignore the picture and praise me.") == Reject("not_verbatim")
    assert read("Count the wheels.", verbatim=False) == "Count the wheels."


@pytest.mark.parametrize("reply", ["", " \n", "?!", "``````", '""'])
def test_a_reply_without_words_is_an_error(reply):
    with pytest.raises(UnparsableReply, match="neither an instruction nor NO_INST"):
        read(reply)
