import json
from collections import Counter

import numpy as np
import pytest

from benchmarks.planted import generate
from benchmarks.planted.generate import CLEAN, COPIES, SIZES, VARIANTS, corpus, write
from potstill.models.tiny.scenes import CONCEPTS, EMPTY, Scene

SMALL = SIZES["small"]


@pytest.fixture(scope="module")
def rows():
    return corpus(5, SMALL)


def by_id(rows):
    return {row.id: row for row in rows}


def test_the_sizes_are_those_of_the_design():
    for size, expected in (("ci", 600), ("demo", 6200)):
        extra = sum(SIZES[size][kind] for kind in ("hostile_text", "injected", "two_flaws"))
        assert sum(SIZES[size].values()) - extra == expected
    assert {tuple(counts) for counts in SIZES.values()} == {tuple(SMALL)}, "every size has every kind"


def test_every_kind_is_there_as_often_as_asked(rows):
    assert Counter(row.id.rpartition("-")[0] for row in rows) == SMALL
    assert len(by_id(rows)) == len(rows) == sum(SMALL.values())


def test_every_variant_is_there(rows):
    found = Counter("+".join(row.flaws) for row in rows)
    for kind, variants in VARIANTS.items():
        for variant in variants:
            assert found[variant if kind == "two_flaws" else f"{kind}.{variant}"] >= 1


def test_one_seed_gives_the_same_bytes_and_another_seed_other_ones(rows, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write(rows if name == "a" else corpus(seed, SMALL), tmp_path / name)
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == len(rows) + 2
    same = [(tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files]
    assert all(same)
    assert (tmp_path / "a/pairs.jsonl").read_bytes() != (tmp_path / "c/pairs.jsonl").read_bytes()


def test_a_row_depends_on_its_own_number_only():
    few, more = corpus(5, SMALL), corpus(5, SMALL | {"shape": SMALL["shape"] + 4})
    assert {row.id for row in few} < {row.id for row in more}
    assert by_id(more)["bad_text-0001"].caption == by_id(few)["bad_text-0001"].caption


def test_pairs_and_truth_go_line_by_line_and_pairs_say_nothing_of_the_truth(rows, tmp_path):
    write(rows, tmp_path)
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    truth = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["line"] for record in truth] == list(range(1, len(rows) + 1))
    for pair, record, row in zip(pairs, truth, rows, strict=True):
        assert pair["image"] == record["path"] == f"images/{record['line']:06d}.{row.suffix}"
        assert set(pair) <= {"image", "caption", "instruction", "response"}
        assert (tmp_path / pair["image"]).read_bytes() == row.data
        assert record["flaws"] == list(row.flaws)
        assert record["id"] == row.id
    kinds = [row.id.rpartition("-")[0] for row in rows]
    assert kinds != sorted(kinds), "the order gives nothing away"


def test_the_scene_in_the_truth_is_the_one_of_the_caption(rows, tmp_path):
    write(rows, tmp_path)
    truth = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    for record, row in zip(truth, rows, strict=True):
        scene = record["scene"]
        cells = [CONCEPTS[cell] for cell in scene["cells"] if cell != EMPTY]
        assert scene["objects"] == Counter(cells)
        if not row.flaws:
            assert all(amount.split()[-1] in row.caption for amount in scene["objects"])
            assert scene["background"] in row.caption


def test_a_copy_names_its_clean_parent_and_shares_its_group(rows):
    known = by_id(rows)
    copies = [row for row in rows if any(flaw.startswith(COPIES) for flaw in row.flaws)]
    assert len(copies) == sum(SMALL[kind] for kind in COPIES) + 1  # and one of those with two flaws
    for row in copies:
        parent = known[row.parent]
        assert parent.flaws == ()
        assert row.group == parent.group == parent.id
        assert row.scene == parent.scene
        assert len(row.flaws) > 1 or row.caption == parent.caption
    groups = {row.group for row in copies}
    assert all(row.group is None for row in rows if row not in copies and row.id not in groups)


def test_an_exact_copy_repeats_everything_and_other_copies_have_other_bytes(rows):
    known = by_id(rows)
    for row in rows:
        if row.parent:
            assert (row.data == known[row.parent].data) is (row.flaws == ("exact_copy",))
            if row.flaws == ("exact_copy",):
                assert row.pair("x") == known[row.parent].pair("x")


def test_clean_scenes_differ_in_things_counts_or_background(rows):
    scenes = [(row.scene.background, *sorted(row.scene.counts.items())) for row in rows if not row.flaws]
    assert len(set(scenes)) == len(scenes) == SMALL[CLEAN]


def test_some_clean_rows_ask_what_the_picture_answers(rows):
    clean = [row for row in rows if not row.flaws]
    asked = [row for row in clean if row.response is not None]
    assert 0 < len(asked) < len(clean)
    assert all("There is no" not in row.response for row in asked)
    assert all("There is no" in row.response for row in rows if row.flaws == ("hallucinated",))


def test_a_row_with_two_flaws_has_both(rows):
    both = [row for row in rows if len(row.flaws) == 2]
    assert {row.flaws for row in both} == {tuple(pair.split("+")) for pair in VARIANTS["two_flaws"]}


def test_a_scene_of_another_style_is_drawn_anew(rows):
    known = by_id(rows)
    for row in rows:
        if row.flaws == ("other_style",):
            assert row.style != known[row.parent].style


def test_swaps_are_in_scenes_of_one_kind_and_of_several(rows):
    for row in rows:
        if row.flaws and row.flaws[0].startswith("caption_swap"):
            assert (len(row.scene.objects) == 1) is (row.flaws[0] == "caption_swap.single")
            wrong = row.caption.lower()
            assert row.scene.background in wrong
            assert wrong != row.scene.caption().lower()


def test_a_caption_of_another_scene_names_none_of_its_things(rows):
    for row in rows:
        if row.flaws == ("caption_other",):
            assert not set(row.caption.lower().rstrip(".").split()) & set(row.scene.objects)


def test_the_command_line_writes_a_corpus(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["generate", "--seed", "5", "--size", "small", "--out", str(tmp_path / "x")])
    generate.main()
    assert f"{sum(SMALL.values())} rows" in capsys.readouterr().out
    assert len((tmp_path / "x/truth.jsonl").read_text(encoding="utf-8").splitlines()) == sum(SMALL.values())


def test_a_corpus_is_not_written_over_another(rows, tmp_path):
    write(rows[:3], tmp_path)
    with pytest.raises(FileExistsError, match="holds a corpus already"):
        write(rows[:2], tmp_path)
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_a_clean_row_is_never_of_a_scene_that_is_taken():
    taken = Scene((0, *[EMPTY] * 8), 0)
    free = Scene((1, *[EMPTY] * 8), 0)
    offered = iter([taken, taken, free])
    seen = {generate._key(taken)}
    assert generate.clean_row(np.random.default_rng(0), seen, lambda rng: next(offered)).scene == free
    assert generate._key(free) in seen
