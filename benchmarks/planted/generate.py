"""Writes a corpus of picture-text pairs whose every flaw is known.

    python -m benchmarks.planted.generate --seed 1 --size ci --out DIR

``images/`` and ``pairs.jsonl`` are what a pipeline sees; ``truth.jsonl`` says, line by line for the same rows, what was
planted, and no pipeline may read it. One seed gives the same bytes at every run (of one Pillow). A row has one flaw, a
few have two; a copy belongs to the group of the clean row that it repeats.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.planted import pictures, texts
from potstill.models.tiny.clip_scenes import EDITS
from potstill.models.tiny.scenes import TRAIN_STYLES, Scene, sample_scene

CLEAN: Final = "clean"
SIZES: Final[dict[str, dict[str, int]]] = {
    "small": {
        CLEAN: 48, "caption_other": 10, "caption_swap": 8, "caption_detail": 3, "exact_copy": 3, "recompressed": 3,
        "resized": 3, "altered": 3, "other_style": 2, "broken": 8, "shape": 6, "blank": 6, "text_picture": 2,
        "foreign": 8, "hallucinated": 2, "bad_text": 4, "hostile_text": 5, "injected": 2, "two_flaws": 5,
    },
    "ci": {
        CLEAN: 300, "caption_other": 30, "caption_swap": 30, "caption_detail": 20, "exact_copy": 20, "recompressed": 20,
        "resized": 20, "altered": 20, "other_style": 15, "broken": 25, "shape": 20, "blank": 15, "text_picture": 20,
        "foreign": 20, "hallucinated": 15, "bad_text": 10, "hostile_text": 20, "injected": 10, "two_flaws": 10,
    },
    "demo": {
        CLEAN: 3300, "caption_other": 300, "caption_swap": 300, "caption_detail": 200, "exact_copy": 200,
        "recompressed": 200, "resized": 200, "altered": 200, "other_style": 150, "broken": 250, "shape": 200,
        "blank": 150, "text_picture": 200, "foreign": 200, "hallucinated": 100, "bad_text": 50, "hostile_text": 100,
        "injected": 50, "two_flaws": 50,
    },
}  # fmt: skip
"""Size -> kind -> rows. The kinds up to ``bad_text`` make 600 in ``ci`` and 6,200 in ``demo``; rows with hostile texts,
injected instructions and two flaws come on top. ``small`` is for tests."""

VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "caption_swap": ("single", "several"),
    "caption_detail": ("count", "colour", "place"),
    "recompressed": ("jpeg30", "png", "webp"),
    "altered": ("crop", "noise", "watermark"),
    "broken": ("truncated", "zeroed", "html", "empty"),
    "shape": ("tiny", "narrow"),
    "blank": ("flat", "near_flat", "noise"),
    "text_picture": ("page", "tiled"),
    "foreign": ("sentence", "sentence", "sentence", "label"),
    "bad_text": ("garbled", "empty", "refusal", "repeated"),
    "hostile_text": ("html", "injection", "control", "rtl", "enormous"),
    "injected": ("instruction", "picture"),
    "two_flaws": ("shape.tiny+foreign.sentence", "blank.flat+bad_text.refusal", "recompressed.webp+bad_text.repeated",
                  "caption_other+shape.narrow", "text_picture.page+hallucinated"),
}  # fmt: skip
"""Kind -> what its rows take turns in. A flaw is called ``kind`` or ``kind.variant``."""

COPIES: Final = ("exact_copy", "recompressed", "resized", "altered", "other_style")
"""Flaws that make a row a copy of a clean row."""
QUESTIONS: Final = 0.25  # share of clean rows with a question and its answer; the others say "Describe the picture."
PLACED: Final = 0.1  # share of clean captions that say where things are


@dataclass(frozen=True)
class Row:
    """One row: what the pipeline sees, and the truth about it."""

    scene: Scene
    style: str
    data: bytes
    caption: str
    suffix: str = "jpg"
    instruction: str = texts.DESCRIBE
    response: str | None = None
    flaws: tuple[str, ...] = ()
    group: str | None = None
    parent: str | None = None
    id: str = ""
    note: dict[str, str] = field(default_factory=dict)

    def pair(self, path: str) -> dict[str, Any]:
        """The record of ``pairs.jsonl``."""
        record = {"image": path, "caption": self.caption, "instruction": self.instruction}
        return record if self.response is None else record | {"response": self.response}

    def truth(self, line: int, path: str) -> dict[str, Any]:
        """The record of ``truth.jsonl``."""
        scene = {"cells": list(self.scene.cells), "background": self.scene.background, "style": self.style,
                 "objects": self.scene.counts, "caption": self.scene.caption()}  # fmt: skip
        return {"id": self.id, "line": line, "path": path, "flaws": list(self.flaws), "group": self.group,
                "parent": self.parent, "scene": scene, **self.note}  # fmt: skip


def corpus(seed: int, counts: Mapping[str, int]) -> list[Row]:
    """All rows in the order of the file: every row drawn from (seed, kind, number), the order from the seed."""
    clean: list[Row] = []
    seen: set[Any] = set()
    for number in range(counts[CLEAN]):
        row = clean_row(_generator(seed, CLEAN, number), seen)
        clean.append(replace(row, id=f"{CLEAN}-{number:04d}"))
    rows = list(clean)
    copied: set[str] = set()
    for kind, count in counts.items():
        variants = cycle(VARIANTS.get(kind, ("",)))
        for number, variant in zip(range(count if kind != CLEAN else 0), variants, strict=False):
            rng = _generator(seed, kind, number)
            flaws = variant.split("+") if kind == "two_flaws" else [f"{kind}.{variant}".rstrip(".")]
            row = _starting_row(flaws, clean, rng, seen)
            for flaw in flaws:
                row = _PLANT[flaw.partition(".")[0]](row, flaw.partition(".")[2], rng)
            if row.parent:
                copied.add(row.parent)
            rows.append(replace(row, id=f"{kind}-{number:04d}", flaws=tuple(flaws)))
    rows = [replace(row, group=row.id) if row.id in copied else row for row in rows]
    return [rows[int(i)] for i in _generator(seed, "order", 0).permutation(len(rows))]


def write(rows: list[Row], out: Path) -> None:
    """``images/``, ``pairs.jsonl`` and ``truth.jsonl``; names and order say nothing about what a row is.

    Raises FileExistsError where there is a corpus already, of which pictures would be left.
    """
    if (out / "images").exists():
        raise FileExistsError(f"{out} holds a corpus already; give a new folder, or delete that one")
    (out / "images").mkdir(parents=True)
    pairs, truth = [], []
    for line, row in enumerate(rows, start=1):
        path = f"images/{line:06d}.{row.suffix}"
        (out / path).write_bytes(row.data)
        pairs.append(json.dumps(row.pair(path), ensure_ascii=False) + "\n")
        truth.append(json.dumps(row.truth(line, path), ensure_ascii=False) + "\n")
    (out / "pairs.jsonl").write_text("".join(pairs), encoding="utf-8")
    (out / "truth.jsonl").write_text("".join(truth), encoding="utf-8")


def clean_row(
    rng: np.random.Generator, seen: set[Any], draw: Callable[[np.random.Generator], Scene] = sample_scene
) -> Row:
    """A row without a flaw, of a scene that differs from all ``seen`` ones in things, counts or background."""
    scene = draw(rng)
    while _key(scene) in seen:
        scene = draw(rng)
    seen.add(_key(scene))
    style = str(rng.choice(TRAIN_STYLES))
    data = pictures.encoded(pictures.render(scene, style, rng))
    row = Row(scene, style, data, texts.placed(scene) if rng.random() < PLACED else scene.caption())
    if rng.random() < QUESTIONS:
        asked = texts.question(scene, rng, true=True)
        row = replace(row, instruction=asked.text, response=asked.answer)
    return row


def _key(scene: Scene) -> Any:
    return scene.colour, tuple(sorted(scene.counts.items()))


def _generator(seed: int, kind: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, *kind.encode(), number])


def _starting_row(flaws: list[str], clean: list[Row], rng: np.random.Generator, seen: set[Any]) -> Row:
    """The row that flaws are planted in: a clean row of the corpus for a copy, else one of a scene of its own."""
    if any(flaw.startswith(COPIES) for flaw in flaws):
        parent = clean[int(rng.integers(len(clean)))]
        return replace(parent, parent=parent.id, group=parent.id)
    if any(flaw.startswith("foreign") for flaw in flaws):
        return clean_row(rng, seen, texts.nameable)
    if flaws[0].startswith("caption_swap"):
        return clean_row(rng, seen, partial(_scene_of, single=flaws[0].endswith("single")))
    return clean_row(rng, seen)


def _scene_of(rng: np.random.Generator, *, single: bool) -> Scene:
    """A scene of one kind of thing, or of several."""
    while True:
        scene = sample_scene(rng)
        if (len(scene.objects) == 1) is single:
            return scene


def _repainted(row: Row, paint: Callable[[Any], Any]) -> Row:
    return replace(row, data=pictures.encoded(paint(pictures.opened(row.data))))


def _caption_other(row: Row, variant: str, rng: np.random.Generator) -> Row:
    other = sample_scene(rng)
    while set(other.objects) & set(row.scene.objects):
        other = sample_scene(rng)
    return replace(row, caption=other.caption())


def _caption_swap(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, caption=EDITS["swap"](row.scene, rng).caption())


def _caption_detail(row: Row, variant: str, rng: np.random.Generator) -> Row:
    if variant == "place":
        return replace(row, caption=texts.placed(texts.moved(row.scene, rng)))
    return replace(row, caption=EDITS[variant](row.scene, rng).caption())


def _exact_copy(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return row


def _recompressed(row: Row, variant: str, rng: np.random.Generator) -> Row:
    data, suffix = pictures.recompressed(row.data, variant)
    return replace(row, data=data, suffix=suffix)


def _resized(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, data=pictures.resized(row.data))


def _altered(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, data=pictures.altered(row.data, variant, rng))


def _other_style(row: Row, variant: str, rng: np.random.Generator) -> Row:
    style = pictures.other_style(row.style, rng)
    return replace(row, style=style, data=pictures.encoded(pictures.render(row.scene, style, rng)))


def _broken(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, data=pictures.broken(row.data, variant, rng))


def _shape(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return _repainted(row, lambda image: pictures.misshapen(image, variant, rng))


def _blank(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return _repainted(row, lambda _: pictures.blank(variant, rng))


def _text_picture(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return _repainted(row, lambda image: pictures.text_picture(image, variant, rng))


def _foreign(row: Row, variant: str, rng: np.random.Generator) -> Row:
    code = str(rng.choice(list(texts.LANGUAGES)))
    language = texts.LANGUAGES[code]
    caption = language.label(row.scene.objects[0]) if variant == "label" else language.caption(row.scene)
    return replace(row, caption=caption, note={"language": code})


def _hallucinated(row: Row, variant: str, rng: np.random.Generator) -> Row:
    asked = texts.question(row.scene, rng, true=False)
    return replace(row, instruction=asked.text, response=asked.answer)


def _bad_text(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, caption=texts.bad_text(variant, row.scene.caption(), rng))


def _hostile_text(row: Row, variant: str, rng: np.random.Generator) -> Row:
    return replace(row, caption=texts.hostile_text(variant, row.scene.caption(), rng))


def _injected(row: Row, variant: str, rng: np.random.Generator) -> Row:
    row = _hallucinated(row, "", rng)
    if variant == "picture":
        return _repainted(row, pictures.commanding)
    return replace(row, instruction=f"{row.instruction} {rng.choice(texts.STEERING)}")


_PLANT: Final[dict[str, Callable[[Row, str, np.random.Generator], Row]]] = {
    "caption_other": _caption_other, "caption_swap": _caption_swap, "caption_detail": _caption_detail,
    "exact_copy": _exact_copy, "recompressed": _recompressed, "resized": _resized, "altered": _altered,
    "other_style": _other_style, "broken": _broken, "shape": _shape, "blank": _blank, "text_picture": _text_picture,
    "foreign": _foreign, "hallucinated": _hallucinated, "bad_text": _bad_text, "hostile_text": _hostile_text,
    "injected": _injected,
}  # fmt: skip


def main() -> None:
    """Write a corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", choices=sorted(SIZES), default="ci")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = corpus(options.seed, SIZES[options.size])
    write(rows, options.out)
    print(f"{len(rows)} rows in {options.out}")


if __name__ == "__main__":
    main()
