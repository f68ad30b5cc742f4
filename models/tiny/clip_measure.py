"""Folds the trained matrices of the tiny CLIP into open_clip's tensors, measures them, and writes weights and card.

    python -m potstill.models.tiny.clip_measure --sources SOURCES --rows ROWS --trained TRAINED \\
        --out models/tiny/clip_weights

ROWS is what clip_rows wrote, TRAINED what `potstill train` made of it (docs/clip.md).
"""

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from potstill.models.tiny import clip_data as data
from potstill.models.tiny import clip_scenes
from potstill.models.tiny.clip_card import card
from potstill.models.tiny.clip_evaluate import auc, retrieval
from potstill.models.tiny.clip_features import random_projection
from potstill.models.tiny.clip_sources import Everything, gather, scene_sets
from potstill.models.tiny.scenes import CONCEPTS
from potstill.models.trainers.projector_task import Projectors, load_projectors


def folded(model: Projectors, known: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's tensors, float16: the standardisation of the pictures' features goes into their matrix."""
    image, text = model.image[0], model.text[0]
    weight = image.weight / known["std"]
    tensors = {
        "visual.head.proj.weight": weight,
        "visual.head.proj.bias": image.bias - weight @ known["mean"],
        "text.proj.weight": text.weight,
        "logit_scale": model.log_scale[0],
    }
    return {name: x.detach().half().contiguous() for name, x in tensors.items()}


def evaluate(all_: Everything, projection: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """Metrics by set name, all on pictures that training did not see."""
    weight, bias, text = (
        projection[f"{n}"].float().numpy()
        for n in ("visual.head.proj.weight", "visual.head.proj.bias", "text.proj.weight")
    )

    def seen(rows: np.ndarray) -> np.ndarray:
        return unit(rows.astype(np.float32) @ weight.T + bias)

    def said(texts: Sequence[str]) -> np.ndarray:
        return unit(np.stack([all_.texts[t] for t in texts]).astype(np.float32) @ text.T)

    out: dict[str, dict[str, float]] = {}
    for name, source, keep in held_out_sets():
        chosen = [i for i, p in enumerate(all_.pairs.get(source, ())) if keep(p.concept)]
        if chosen:
            own = [all_.pairs[source][i].texts[0] for i in chosen]
            captions = sorted(set(own))
            out[name] = retrieval(seen(all_.rows[source][chosen]), said(captions), [captions.index(t) for t in own])
    for name in (n for n, *_ in scene_sets() if n.startswith("test")):
        rows = seen(all_.rows[name])
        for kind, chosen in kinds(all_.kinds[name]).items():
            told = [all_.told[name][i] for i in chosen]
            right = (rows[chosen] * said([t[0] for t in told])).sum(1)
            wrong = {"easy": np.roll([t[0] for t in told], 1).tolist()}
            wrong |= {edit: [t[k] for t in told] for k, edit in enumerate(clip_scenes.EDITS, start=1)}
            scores = {e: round(auc(right, (rows[chosen] * said(texts)).sum(1)), 3) for e, texts in wrong.items()}
            out[f"{name}, {kind}"] = {"n": len(chosen), **scores}
    return out


def kinds(objects: Sequence[int]) -> dict[str, list[int]]:
    """Scene numbers by how many kinds of object they show."""
    return {
        "one kind": [i for i, n in enumerate(objects) if n == 1],
        "several kinds": [i for i, n in enumerate(objects) if n > 1],
    }


def held_out_sets() -> list[tuple[str, str, Callable[[str], bool]]]:
    """Name, source set and concept test of the retrieval evaluations."""
    kept = frozenset(data.letters(c) for c in CONCEPTS)
    new = f"emoji-{data.HELD_OUT_VENDOR}"
    return [
        ("seen concepts, new vendor", new, lambda c: not data.held_out(c, kept)),
        ("new concepts, new vendor", new, lambda c: data.held_out(c, kept)),
        ("photo cut-outs", "stamps", lambda c: True),
    ]


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fold, measure, and write the weights folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder with the unpacked packages of docs/clip.md")
    parser.add_argument("--rows", type=Path, required=True, help="folder that clip_rows wrote")
    parser.add_argument("--trained", type=Path, required=True, help="folder that `potstill train` wrote")
    parser.add_argument("--out", type=Path, default=Path("models/tiny/clip_weights"), help="folder to write")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    projection = folded(load_projectors(given.trained / "model"), load_file(given.rows / "standard.safetensors"))
    trained = json.loads((given.trained / "train.json").read_text(encoding="utf-8"))
    all_ = gather(given.sources)
    metrics = {
        "test": evaluate(all_, projection),
        "control": evaluate(all_, random_projection(0)),
        "rows": trained["rows"],
        "steps": trained["steps"],
        "pictures": {name: len(rows) for name, rows in all_.rows.items()},
        "texts": len(all_.texts),
        "seconds": {"features": round(all_.seconds)},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    save_file(projection, given.out / "projection.safetensors")
    (given.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    (given.out / "CARD.md").write_text(card(metrics), encoding="utf-8")
    print(json.dumps(metrics["test"], indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
