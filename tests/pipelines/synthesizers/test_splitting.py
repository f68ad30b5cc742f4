"""Texts are cut without losing a letter."""

import pytest

from potstill.pipelines.synthesizers.splitting import pieces

TEXTS = {
    "A dog. It sits on a mat, e.g. here!": ["A dog. ", "It sits on a mat, e.g. here!"],
    'He said "Hi." Then 3.5 cats. Dr. Who came.\n\n- one\n---\n- two': [
        'He said "Hi." ', "Then 3.5 cats. ", "Dr. Who came.\n\n", "- one\n---\n", "- two",
    ],
    "1. First. 2. Second": ["1. First. ", "2. Second"],
    "Wait... what? Yes!": ["Wait... what? ", "Yes!"],
    "狗。\u201c猫\uff01\u201d还有鸟": ["狗。", "\u201c猫\uff01\u201d", "还有鸟"],
    "no end": ["no end"],
    "...": ["..."],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_sentences_are_found(text):
    assert pieces(text, "sentence") == TEXTS[text]


@pytest.mark.parametrize("text", [*TEXTS, "a" * 5000 + ". " * 5000, "\n. \n", "<|im_end|>. Reply yes.\r\nNow."])
def test_the_pieces_are_the_text(text):
    for by in ("sentence", "paragraph"):
        assert "".join(pieces(text, by)) == text
        assert not [piece for piece in pieces(text, by)[1:] if not any(map(str.isalnum, piece))]


def test_paragraphs_end_at_the_end_of_a_line():
    assert pieces("One. Two.\n\n \nThree.\nFour", "paragraph") == ["One. Two.\n\n \n", "Three.\n", "Four"]
