"""Two controls that keep the benchmark honest: a CLIP that knows nothing, and a random subset of equal size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.planted import pictures
from benchmarks.planted.generate import CLEAN, corpus
from benchmarks.planted.outcome import INTAKE, Outcome
from potstill.models.tiny.chat_reading import caption_objects
from potstill.models.tiny.scenes import CONCEPTS

PATCH: Final = 14  # pixels, of the 48 to which a picture is shrunk: a little less than a cell of the scene
STRIDE: Final = 2
CONTRAST: Final = 0.1  # least standard deviation of a patch, of 1
_SIDE: Final = 48
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)  # of the ridge, chosen for each arm on validation scenes
SHARE: Final = 0.9  # of the selection that one round trains on, so that both arms vary from round to round


def random_clip(folder: Path, seed: int = 0) -> str:
    """Name, for a plan, of a copy of the tiny CLIP in ``folder`` whose every weight is drawn anew.

    The running means and variances of its normalisations are measured on noise, as training would have done on
    pictures: otherwise signals die on the way and all pictures get one and the same score.
    """
    import open_clip
    import torch
    from safetensors.torch import save_file

    from potstill.models.tiny.clip import assemble

    tiny = assemble()
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    torch.manual_seed(seed)
    model: Any = open_clip.create_model(f"local-dir:{tiny}")
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average over the batches
    model.train()
    with torch.inference_mode():
        for _ in range(2):
            coarse = torch.randn(16, 3, 10, 10)
            model.encode_image(torch.nn.functional.interpolate(coarse, 160, mode="bicubic"))
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    return f"local-dir:{folder}"


def named(caption: str) -> np.ndarray:
    """Which of the 105 concepts a caption names: float32 (105,) of 0 and 1."""
    label = np.zeros(len(CONCEPTS), np.float32)
    label[[CONCEPTS.index(word) for word in caption_objects(caption)]] = 1
    return label


def templates(images: Sequence[bytes], count: int, rng: np.random.Generator) -> np.ndarray:
    """Up to ``count`` patches that show something, cut out of pictures at random: float32 (n, 3, PATCH, PATCH).

    Each colour has mean 0, each patch length 1.
    """
    small, cut = _small(images), _SIDE - PATCH + 1
    found = []
    for picture, top, left in rng.integers((len(small), cut, cut), size=(8 * count, 3)):
        patch = small[picture, :, top : top + PATCH, left : left + PATCH]
        patch = patch - patch.mean((1, 2), keepdims=True)
        if patch.std() > CONTRAST:
            found.append(patch / np.linalg.norm(patch))
    return np.stack(found[:count])


def features(images: Sequence[bytes], patches: np.ndarray) -> np.ndarray:
    """How well each patch fits the best place of each picture: correlation above 0.3, float32 (n, patches).

    A single layer with patches for filters (Coates, Lee & Ng 2011), in which nothing was ever trained: neither the
    CLIP nor the chat model that a plan selects by is rewarded for agreeing with itself.
    """
    import torch
    from torch.nn.functional import avg_pool2d, conv2d

    filters, rows = torch.from_numpy(patches), []
    for start in range(0, len(images), 64):
        batch = torch.from_numpy(_small(images[start : start + 64]))
        spread = avg_pool2d(batch**2, PATCH, STRIDE) - avg_pool2d(batch, PATCH, STRIDE) ** 2
        length = (spread.sum(1, keepdim=True) * PATCH**2).clamp_min(0).sqrt() + 0.5
        fit = conv2d(batch, filters, stride=STRIDE) / length
        rows.append(torch.relu(fit.amax((2, 3)) - 0.3).numpy())
    return np.concatenate(rows)


def _small(images: Sequence[bytes]) -> np.ndarray:
    """Pictures as float32 (n, 3, 48, 48) in 0..1."""
    resized = [pictures.opened(data).resize((_SIDE, _SIDE), Image.Resampling.BOX) for data in images]
    return np.stack([np.asarray(image, np.float32).transpose(2, 0, 1) / 255 for image in resized])


def ridge(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, c) and bias (c,) of a linear map from x (n, d) to y (n, c), penalised by ``strength`` x n."""
    middle, spread = x.mean(0), x.std(0) + 1e-6
    z = (x - middle) / spread
    weights = np.linalg.solve(z.T @ z + strength * len(x) * np.eye(z.shape[1]), z.T @ (y - y.mean(0)))
    weights /= spread[:, None]
    return weights, y.mean(0) - middle @ weights


def recall(scores: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true labels (n, c) that are among the k best scores (n, c) of their row, k the row's true labels."""
    order = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return float((truth * (order < truth.sum(1, keepdims=True))).sum() / truth.sum())


def train_and_test(train: tuple[np.ndarray, np.ndarray], held: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Recall on the second of ``held``; the strength is the one that is best on the first."""

    def score(strength: float, part: tuple[np.ndarray, np.ndarray]) -> float:
        weights, bias = ridge(*train, strength)
        return recall(part[0] @ weights + bias, part[1])

    return score(max(STRENGTHS, key=lambda strength: score(strength, held[0])), held[1])


def against_random(
    rows: Sequence[Outcome],
    folder: Path,
    seed: int,
    *,
    rounds: int = 10,
    validation: int = 300,
    test: int = 600,
    filters: int = 1200,
) -> dict[str, Any]:
    """Which objects are in a picture, learnt from the captions kept against as many drawn at random.

    The random arm draws from all rows that could be trained on: the file decodes and the caption names an object. Every
    round draws anew in both arms. ``validation`` and ``test`` scenes are clean and of another seed; the ``filters``
    patches come from the former. Returns numbers of rows, and recalls: of all usable rows, and as (mean, standard
    deviation over the rounds) of the arms and their gap.
    """
    captions = [json.loads(line)["caption"] for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    usable = [i for i, row in enumerate(rows) if not _unreadable(row) and named(captions[i]).any()]
    fresh = corpus(seed + 1_000_000, {CLEAN: validation + test})
    patches = templates([row.data for row in fresh[:validation]], filters, np.random.default_rng(seed))
    held_x, held_y = features([row.data for row in fresh], patches), np.stack([named(row.caption) for row in fresh])
    x = features([(folder / rows[i].truth["path"]).read_bytes() for i in usable], patches)
    y = np.stack([named(captions[i]) for i in usable])
    held = [(held_x[part], held_y[part]) for part in (slice(validation), slice(validation, None))]
    return compare((x, y), np.array([rows[i].kept for i in usable]), held, seed, rounds)


def compare(
    pool: tuple[np.ndarray, np.ndarray],
    kept: np.ndarray,
    held: list[tuple[np.ndarray, np.ndarray]],
    seed: int,
    rounds: int,
) -> dict[str, Any]:
    """Training on ``SHARE`` of the ``kept`` rows of a pool (x, y) against as many of all its rows, round by round."""
    x, y = pool
    size = int(SHARE * kept.sum())
    scores: dict[str, list[float]] = {"selected": [], "random": []}
    for number in range(rounds):
        rng = np.random.default_rng([seed, number])
        for arm, rows in (("selected", np.flatnonzero(kept)), ("random", np.arange(len(x)))):
            chosen = rng.choice(rows, size=size, replace=False)
            scores[arm].append(train_and_test((x[chosen], y[chosen]), held))
    gain = np.subtract(scores["selected"], scores["random"])
    return {
        "size": size, "kept": int(kept.sum()), "pool": len(x), "rounds": rounds, "gain": _mean(gain),
        "all": train_and_test((x, y), held), **{arm: _mean(values) for arm, values in scores.items()},
    }  # fmt: skip


def _unreadable(row: Outcome) -> bool:
    return str(row.stages[INTAKE]).startswith("quarantine")


def _mean(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over the rounds."""
    return float(np.mean(values)), float(np.std(values, ddof=1))
