import base64
from io import BytesIO

import pyarrow as pa
from PIL import Image

from potstill.pipelines.report import gallery
from potstill.pipelines.report.gallery import KEPT, Picks, cards, thumbnail
from potstill.pipelines.report.standing import Standing
from tests.toys import png


def picked(directory, backwards=False):
    picks = Picks()
    parts = list(Standing(directory).parts())
    for part in reversed(parts) if backwards else parts:
        picks.add(part)
    return picks


def test_groups_have_all_their_rows_counted(toy_run):
    sizes = {KEPT: 5, ("gate", "unsolvable"): 2, ("gate", "unsolvable_unknown"): 1, ("judge", "no_instruction"): 1}
    assert picked(toy_run).sizes == sizes


def test_the_draw_is_bounded_and_the_same_in_any_order_of_chunks(toy_run, monkeypatch):
    monkeypatch.setattr(gallery, "KEPT_ROWS", 3)
    ids = [id_ for id_, _, _ in picked(toy_run).rows[KEPT]]
    assert len(ids) == 3
    assert ids == [id_ for id_, _, _ in picked(toy_run, backwards=True).rows[KEPT]]


def test_a_card_has_texts_and_scores_and_no_tokens(toy_run):
    made = cards(Standing(toy_run), picked(toy_run))
    card = next(card for card in made[KEPT] if card.source == "0000.png")
    assert (card.size, card.values) == ("32 x 24 PNG", [("solvability", "4"), ("match", "0")])
    assert [text.column for text in card.texts] == ["caption", "instruction"]


def test_a_thumbnail_is_small_and_a_broken_picture_has_none():
    uri = thumbnail("one", pa.scalar(png(size=(900, 300)), pa.large_binary()))
    small = Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert (small.format, small.size) == ("JPEG", (160, 53))
    assert thumbnail("two", pa.scalar(b"no picture", pa.large_binary())) is None
