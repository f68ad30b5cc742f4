"""The corpus for peers: known kinds, and verdicts worked out by hand."""

import io

import pytest
from PIL import Image

from benchmarks.peers.data import Truth, verdict, write

TRUTHS = [
    Truth("a", "original", "a"), Truth("b", "original", "b"), Truth("c", "copy", "a"), Truth("d", "near_copy", "a"),
    Truth("n", "narrow", "n"), Truth("u", "unreadable", "u"),
]  # fmt: skip


def readable(data):
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001 (broken pictures raise a dozen types)
        return False
    return True


def test_the_corpus_is_what_it_says_and_the_same_for_a_seed(tmp_path):
    truths = write(tmp_path / "one", 40, 0.05, seed=3)
    assert [truth.kind for truth in truths].count("unreadable") == 2
    assert len(truths) == len(list((tmp_path / "one/images").iterdir())) == 40
    assert write(tmp_path / "two", 40, 0.05, seed=3) == truths
    for truth in truths:
        data = (tmp_path / "one/images" / truth.name).read_bytes()
        assert data == (tmp_path / "two/images" / truth.name).read_bytes()
        assert readable(data) == (truth.kind != "unreadable")
        if truth.kind != "unreadable":
            sides = sorted(Image.open(io.BytesIO(data)).size)
            assert (sides[1] > 3 * sides[0]) == (truth.kind == "narrow")
        assert (data == (tmp_path / "one/images" / truth.of).read_bytes()) == (truth.kind not in ("near_copy",))


@pytest.mark.parametrize(
    ("kept", "recall", "precision", "lost"),
    [("abn", 1, 1, 0), ("dbn", 1, 1, 0), ("abnc", 0.5, 1, 0), ("bn", 1, 2 / 3, 1), ("abcdn", 0, 1, 0)],
)
def test_of_a_picture_and_its_copies_any_one_may_stay(kept, recall, precision, lost):
    found = verdict(TRUTHS, set(kept), "dedup")
    assert (found["recall"], found["precision"], found["good_lost"]) == pytest.approx((recall, precision, lost))
    assert found["should"] == 3


def test_a_filter_of_sizes_drops_narrow_pictures_and_unreadable_ones_never_stay():
    found = verdict(TRUTHS, set("abu"), "size")
    assert found == {"kept": 3, "should": 4, "good_lost": 2, "bad_kept": 1}
    assert verdict(TRUTHS, set("abcdn"), "clip") == {"kept": 5, "should": 5, "good_lost": 0, "bad_kept": 0}
