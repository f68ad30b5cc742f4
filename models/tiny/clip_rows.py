"""Writes the rows that the projection of the tiny CLIP is trained on: stored vectors, for a trainer of kind projector.

    python -m potstill.models.tiny.clip_rows --sources SOURCES --out ROWS

SOURCES holds unpacked packages (docs/clip.md says which and how to get them). ROWS becomes `rows.parquet`, rows of
three sorts in random order; `classes.safetensors`, the vectors of the 1000 sentences of the classifier's classes; and
`standard.safetensors`, how the pictures' features were standardised.

- `pair`: a picture and one of its labels; pictures of one concept are of one group.
- `scene`: an emoji scene and its caption, with captions that have one planted error as negatives.
- `distilled`: a picture without a text, and what the image wheel's own ImageNet classifier says of it. This is what
  carries over to photographs. The pictures at hand show a few hundred of the 1000 classes, so features are pushed
  towards a random class each, up to STEER along its classifier weights.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from potstill.models.tiny import clip_data as data
from potstill.models.tiny.clip import IMAGE_WHEEL
from potstill.models.tiny.clip_features import classifier
from potstill.models.tiny.clip_sources import Everything, class_names, class_texts, gather, scene_sets
from potstill.models.tiny.scenes import CONCEPTS
from potstill.models.trainers import stored

PAIRS: Final = 48_000
SCENES: Final = 36_000
DISTILLED: Final = 48_000
TEXTS_PER_PICTURE: Final = 4
"""Different labels that a picture comes with."""
STEER: Final = 18.0
BEST: Final = 64
"""Classes of the classifier that are stored; they hold about 96 % of what it says."""
ROW_GROUP: Final = 4096
FLOOR: Final = 0.05
"""Added to standard deviations: some features are nearly always 0."""
SEED: Final = 0


def standard(rows: Tensor) -> dict[str, Tensor]:
    """`mean` and `std` of features (N, 1280)."""
    return {"mean": rows.mean(0), "std": rows.std(0) + FLOOR}


def steered(rows: Tensor, weight: Tensor, reach: float, draw: torch.Generator) -> Tensor:
    """Rows pushed towards a random class each by 0 to `reach` along its classifier weights, kept non-negative."""
    direction = weight - weight.mean(0)
    chosen = functional.normalize(direction[torch.randint(len(direction), (len(rows),), generator=draw)], dim=1)
    return (rows + reach * torch.rand(len(rows), 1, generator=draw) * chosen).clamp(min=0)


def best_classes(rows: Tensor, weight: Tensor, bias: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classifier's best classes, int16 (N, count), and their log-probabilities among all, float16."""
    best = functional.log_softmax(rows @ weight.T + bias, dim=1).topk(count)
    return best.indices.to(torch.int16).numpy(), best.values.half().numpy()


def pairs(all_: Everything) -> tuple[Tensor, list[tuple[str, ...]], list[str]]:
    """Pictures of the training sets that are there (N, 1280), the labels of each, and its concept."""
    kept = frozenset(data.letters(c) for c in CONCEPTS)
    rows, texts, concepts = [], [], []
    for name in (*(f"emoji-{v}" for v in data.TRAIN_VENDORS), "clipart"):
        for row, pair in zip(all_.rows.get(name, ()), all_.pairs.get(name, ()), strict=True):
            if not data.held_out(pair.concept, kept):
                rows.append(row)
                texts.append(pair.texts)
                concepts.append(pair.concept)
    return torch.from_numpy(np.stack(rows)).float(), texts, concepts


def again(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """`wanted` numbers below `count`, all equally often but for the last round, which is a random part."""
    rounds, rest = divmod(wanted, count)
    return np.concatenate([np.tile(np.arange(count), rounds), rng.permutation(count)[:rest]])


def vectors(rows: np.ndarray) -> pa.Array:
    """Rows (N, D) as float16 lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(np.float16).ravel()), rows.shape[1])


def table(count: int, kind: str, columns: Mapping[str, pa.Array | Sequence[str]]) -> pa.Table:
    """Rows of one sort."""
    ids = [xxhash.xxh3_128_hexdigest(f"{kind}/{n}".encode()) for n in range(count)]
    sorts = {name: pa.array(np.full(count, name == kind)) for name in ("pair", "scene", "distilled")}
    return pa.table({"sample_id": ids, **columns, **sorts})


def rows_of(all_: Everything) -> tuple[pa.Table, dict[str, Tensor]]:
    """The rows in random order, and how their pictures' features were standardised."""
    rng, draw = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED)
    pictures, texts, concepts = pairs(all_)
    crops = torch.from_numpy(all_.rows["crops"]).float()
    anything = torch.cat([pictures, crops, crops])  # photographs count twice
    known = standard(anything)

    def features(rows: Tensor) -> pa.Array:
        return vectors(((rows - known["mean"]) / known["std"]).numpy())

    def said(sentences: Sequence[str]) -> np.ndarray:
        return np.stack([all_.texts[text] for text in sentences])

    at = again(len(pictures), PAIRS, rng)
    turns = np.arange(PAIRS) // len(pictures) % TEXTS_PER_PICTURE
    own = [texts[i][turn % len(texts[i])] for i, turn in zip(at, turns, strict=True)]
    groups = [concepts[i] for i in at]
    paired = table(PAIRS, "pair", {"image": features(pictures[at]), "text": vectors(said(own)), "group": groups})

    blocks = [name for name, *_ in scene_sets() if not name.startswith("test")]
    scenes = torch.from_numpy(np.concatenate([all_.rows[name] for name in blocks])).float()
    told = [sentences for name in blocks for sentences in all_.told[name]]
    at = again(len(scenes), SCENES, rng)
    captions = [told[i][0] for i in at]
    wrong = vectors(said([text for i in at for text in told[i][1:]]))
    columns = {"image": features(scenes[at]), "text": vectors(said(captions)), "group": captions}
    columns["negatives"] = pa.ListArray.from_arrays(np.arange(SCENES + 1, dtype=np.int32) * len(told[0][1:]), wrong)
    drawn = table(SCENES, "scene", columns)

    weight, bias = classifier()
    shown = steered(anything[again(len(anything), DISTILLED, rng)], weight, STEER, draw)
    taught = table(DISTILLED, "distilled", {"image": features(shown), **teacher(shown, weight, bias)})
    every = [each.cast(as_lists(each.schema)) for each in (paired, drawn, taught)]
    whole = pa.concat_tables(every, promote_options="default")
    return whole.take(pa.array(rng.permutation(whole.num_rows))), known


def teacher(rows: Tensor, weight: Tensor, bias: Tensor) -> dict[str, pa.Array]:
    """What a stage that stores a teacher would have written of these rows, as one view each."""
    idx, logp = best_classes(rows, weight, bias, BEST)
    about = stored.about(classes=stored.names_digest(class_names()), temperature=1.0, teacher=IMAGE_WHEEL.package)
    return {
        "teacher_idx": pa.FixedSizeListArray.from_arrays(pa.array(idx.ravel()), BEST),
        "teacher_logp": vectors(logp),
        "teacher_views": pa.array([[{"box": None, "flip": False}]] * len(rows), stored.VIEWS),
        "teacher_about": pa.array([about] * len(rows)),
    }


def as_lists(schema: pa.Schema) -> pa.Schema:
    """Vectors as lists of any length, which may be null without taking room."""

    def loose(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
            return pa.list_(loose(kind.value_type))
        return kind

    return pa.schema([(field.name, loose(field.type)) for field in schema])


def write(all_: Everything, out: Path) -> None:
    """The rows, the classes' vectors, and the standardisation, in a folder."""
    rows, known = rows_of(all_)
    out.mkdir(parents=True, exist_ok=True)
    # Mixed vectors do not compress, and a dictionary of them costs more than they take.
    pq.write_table(rows, out / "rows.parquet", row_group_size=ROW_GROUP, use_dictionary=False, compression="none")
    save_file(known, out / "standard.safetensors")
    classes = torch.from_numpy(np.stack([all_.texts[text] for text in class_texts()]))
    names = {"names": json.dumps(list(class_names()))}
    save_file({"classes": classes}, out / "classes.safetensors", metadata=names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the sources and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder with the unpacked packages of docs/clip.md")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    write(gather(given.sources), given.out)


if __name__ == "__main__":
    main()
