"""Writes emoji scenes with their captions as Parquet that the trainers read, if wanted with a teacher's embeddings.

    python -m benchmarks.scene_rows --rows 2400 --held-out 400 --teacher tiny --views 2 --out runs/scenes

Columns: ``sample_id``, ``image`` (PNG), ``caption``, ``captions`` (three wordings), ``group`` (what is in the scene),
``label`` (the kind of its first thing), ``wrong`` (the caption is another scene's), ``split`` (train, val); of the
teacher ``<name>_image``, ``<name>_text``, ``<name>_captions``, ``<name>_about`` and, where it saw random views,
``<name>_views``. No two rows show the same things on the same background, so that each has one right caption.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from potstill.models.clip import load_clip
from potstill.models.tiny.scenes import CONCEPTS, EMPTY, GROUP_OF, Scene, SpriteBank, sample_scene
from potstill.models.trainers.pictures import View
from potstill.models.trainers.stored import VIEWS, about

VIEW = View(area=(0.5, 1.0), aspect=(1.0, 1.0), flip=0.5)
"""The views that are stored."""


def scene_rows(
    rows: int,
    held_out: int,
    *,
    seed: int = 0,
    size: int = 96,
    wrong: float = 0.0,
    draw: Callable[[np.random.Generator], Scene] = sample_scene,
) -> pa.Table:
    """``rows`` different scenes, the last ``held_out`` for validation; of the others a share has a wrong caption."""
    rng = np.random.default_rng([seed, rows])
    scenes = _different(rows, rng, draw)
    files = [_png(picture) for picture in SpriteBank(size, seed=seed).render(scenes, rng)]
    told = np.arange(rows)
    exchanged = rng.permutation(rows - held_out)[: round(wrong * (rows - held_out))]
    told[exchanged] = np.roll(exchanged, 1)
    of = [scenes[k] for k in told]
    return pa.table(
        {
            "sample_id": [xxhash.xxh3_128_hexdigest(f"{seed}/{n}".encode()) for n in range(rows)],
            "image": pa.array(files, pa.large_binary()),
            "caption": [scene.caption() for scene in of],
            "captions": [_wordings(scene) for scene in of],
            "group": [_key(scene) for scene in scenes],
            "label": [GROUP_OF[CONCEPTS.index(scene.objects[0])] for scene in scenes],
            "wrong": told != np.arange(rows),
            "split": ["train" if n < rows - held_out else "val" for n in range(rows)],
        }
    )


def with_teacher(table: pa.Table, name: str, *, views: int = 0, seed: int = 0, view: View = VIEW) -> pa.Table:
    """The table with the embeddings of a CLIP: of pictures or so many random views, of captions, of all wordings."""
    clip, title = load_clip(name), name.rpartition("/")[2]
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in table["image"].to_pylist()]
    columns: dict[str, list] = {"text": list(clip.encode_texts(table["caption"].to_pylist()))}
    if "captions" in table.column_names:
        wordings = table["captions"].to_pylist()
        vectors = clip.encode_texts([text for texts in wordings for text in texts])
        ends = np.cumsum([len(texts) for texts in wordings])[:-1]
        columns["captions"] = [list(part) for part in np.split(vectors, ends)]
    if not views:
        columns["image"] = list(clip.encode_images(pictures))
    else:
        samples = table["sample_id"].to_pylist()
        drawn = [
            [view.draw(seed, sample, k + 1, *picture.size) for k in range(views)]
            for picture, sample in zip(pictures, samples, strict=True)
        ]
        seen = [_part(picture, how) for picture, each in zip(pictures, drawn, strict=True) for how in each]
        columns["image"] = list(clip.encode_images(seen).reshape(len(pictures), -1))
        table = table.append_column(f"{title}_views", pa.array(drawn, VIEWS))
    scale = float(clip.model.logit_scale.exp())
    columns["about"] = [about(teacher=clip.revision, width=clip.embedding_dim, scale=scale)] * table.num_rows
    for column, values in columns.items():
        table = table.append_column(f"{title}_{column}", pa.array(values))
    return table


def write(table: pa.Table, folder: Path, group: int = 200) -> Path:
    """``folder/dataset/part-00000.parquet``, as a run leaves it."""
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "dataset" / "part-00000.parquet", row_group_size=group)
    return folder


def _different(count: int, rng: np.random.Generator, draw: Callable[[np.random.Generator], Scene]) -> list[Scene]:
    seen: dict[str, Scene] = {}
    while len(seen) < count:
        scene = draw(rng)
        seen.setdefault(_key(scene), scene)
    return list(seen.values())


def _key(scene: Scene) -> str:
    things = sorted(f"{n} {word}" for word, n in scene.counts.items())
    return f"{', '.join(things)} on {scene.background}"


def _wordings(scene: Scene) -> list[str]:
    listing, colour = scene.listing(), scene.background
    return [scene.caption(), f"A picture of {listing}, the background is {colour}.", f"{colour}: {listing}"]


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _part(picture: Image.Image, drawn: dict) -> Image.Image:
    left, top, right, bottom = drawn["box"]
    part = picture.crop((round(left), round(top), round(right), round(bottom)))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn["flip"] else part


def single(rng: np.random.Generator) -> Scene:
    """A scene of one kind of thing."""
    while True:
        scene = sample_scene(rng)
        if len({cell for cell in scene.cells if cell != EMPTY}) == 1:
            return scene


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--wrong", type=float, default=0.0, help="share of training captions that are another scene's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", default="", help="tiny, or a folder; none unless given")
    parser.add_argument("--views", type=int, default=0, help="random views of each picture to store embeddings of")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    table = scene_rows(options.rows, options.held_out, seed=options.seed, wrong=options.wrong)
    if options.teacher:
        table = with_teacher(table, options.teacher, views=options.views, seed=options.seed)
    print(f"{table.num_rows} scenes in {write(table, options.out)}: {', '.join(table.column_names)}")


if __name__ == "__main__":
    main()
