"""What projectors do with a micro-batch, and their plain format: config.json and model.safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import xxhash
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from potstill.models.losses.loss import Labels, Output
from potstill.models.losses.numerics import unit
from potstill.models.metrics.retrieval import places
from potstill.models.trainers.classifier_task import Mlp
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.projector import ProjectorRecipe
from potstill.models.trainers.task import Inputs, Task

SIDES = ("image", "text")


class Projectors(nn.Module):
    """Vectors of pictures (B, I) and of texts (B, T) into one space of unit rows (B, width)."""

    def __init__(self, widths: Mapping[str, tuple[int, ...]], scale: float) -> None:
        super().__init__()
        self.image, self.text = Mlp(tuple(widths["image"])), Mlp(tuple(widths["text"]))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both, and the factor of their similarities."""
        return unit(self.image(unit(image))), unit(self.text(unit(text))), self.log_scale.exp().clamp(max=100)


class ProjectorTask(Task):
    """Two projectors, no teacher."""

    def __init__(self, recipe: ProjectorRecipe) -> None:
        self.recipe = recipe
        found = groups(recipe.data, recipe.columns())
        first = recipe.prepare(found.read(found.order(recipe.data, 0).window_rows(0)[:1]), training=False)
        self.widths = {side: (len(first[side][0]), *recipe.hidden, recipe.width) for side in SIDES}
        self.student = Projectors(self.widths, recipe.scale)

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """``image`` (B, I), ``text`` (B, T) and, if asked for, ``group`` (B,)."""
        made = {}
        for side in SIDES:
            flat = rows[side].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            made[side] = torch.tensor(flat).view(rows.num_rows, -1)
        if "group" in rows.column_names:
            hashed = [xxhash.xxh3_64_intdigest(str(value).encode()) >> 1 for value in rows["group"].to_pylist()]
            made["group"] = torch.tensor(hashed)
        return made

    def labels(self, inputs: Inputs) -> Labels:
        """Groups."""
        return Labels(len(inputs["image"]), group=inputs.get("group"))

    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """Projected embeddings."""
        image, text, scale = student(inputs["image"], inputs["text"])
        return Output(image=image, text=text, scale=scale)

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """Embeddings."""
        image, text, _ = student(inputs["image"], inputs["text"])
        return {"image": image.cpu().numpy(), "text": text.cpu().numpy()}

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Recall at 1 and 5 in both directions, each row's own text being the right one."""
        own = np.repeat(np.arange(len(answers["image"]))[:, None], 2, axis=1)
        found = {}
        for name, one, other in (("image_to_text", "image", "text"), ("text_to_image", "text", "image")):
            at = places(answers[one], answers[other], own)
            found |= {f"{name}_r{k}": float(at.hits(k).mean()) for k in (1, 5)}
        return found | {"r1": (found["image_to_text_r1"] + found["text_to_image_r1"]) / 2}

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """``config.json`` and ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: x.contiguous() for name, x in weights.items()}, folder / "model.safetensors")
        config = {"kind": "projector", "widths": self.widths, "image": self.recipe.image, "text": self.recipe.text}
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def load_projectors(folder: Path) -> Projectors:
    """Projectors that were exported."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Projectors(config["widths"], 1.0)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model
