import pytest

from potstill.pipelines.report.text import duration, one_line, shorten, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1bc\x7fd", "a␀b␛c␡d"),
        ("x\u202ey\u2066z", "x[U+202E]y[U+2066]z"),
        ("line\ntab\t", "line\ntab\t"),
        ("مرحبا 👩\u200d🚀", "مرحبا 👩\u200d🚀"),
        ("\x85\ufeff", "[U+0085][U+FEFF]"),
    ],
)
def test_control_characters_are_shown_and_scripts_left_alone(text, shown):
    assert visible(text) == shown


def test_long_text_says_how_much_is_left_out():
    assert shorten("abcdef", 4) == "abcd… (2 more characters)"
    assert shorten("abcd", 4) == "abcd"


def test_a_terminal_gets_one_line_without_escape_sequences():
    assert one_line("a\n b\x1b[31m", 80) == "a b␛[31m"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3725, "1 h 2 min")]
)
def test_durations_are_said_as_people_do(seconds, said):
    assert duration(seconds) == said
