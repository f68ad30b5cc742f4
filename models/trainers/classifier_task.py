"""What a classifier does with a micro-batch, and its plain format: config.json and model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from potstill.config import RequestError
from potstill.models.losses.dho import blend
from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Labels, Output
from potstill.models.losses.numerics import IGNORED
from potstill.models.metrics.accuracy import top_k
from potstill.models.trainers.classifier import BEST, HEAT, INPUT, LOGP, TARGET, ClassifierRecipe, Network
from potstill.models.trainers.pictures import as_tensor_bytes
from potstill.models.trainers.taps import tapped_names, taps
from potstill.models.trainers.task import Inputs, Task

LOGITS, SECOND = "logits", "kd_logits"
GRID = [(share / 20, heat) for share in range(21) for heat in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)]
"""Blends of two heads that DHO tries (arXiv 2505.07675)."""


class Mlp(nn.Sequential):
    """Fully connected layers with ReLU between them."""

    def __init__(self, widths: tuple[int, ...], *, bias: bool = True) -> None:
        layers: list[nn.Module] = []
        for number, (inward, outward) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] if number else []
            layers.append(nn.Linear(inward, outward, bias=bias))
        super().__init__(*layers)


class Classifier(nn.Module):
    """A network with its input's scaling; pictures (B, 3, H, W) of bytes or vectors (B, D) to logits (B, C).

    With two heads ``second`` sees what ``body`` makes of the input as well.
    """

    def __init__(self, network: Network, classes: int, width: int) -> None:
        super().__init__()
        self.network, self.pictures = network, network.architecture != "mlp"
        self.blend = (0.5, 1.0)
        """Of two heads: share of the first in what is predicted, and temperature of the second."""
        outputs = 0 if network.dual_head else classes
        if self.pictures:
            import timm

            try:
                ready = network.pretrained == "timm"
                self.body = timm.create_model(network.architecture, pretrained=ready, num_classes=outputs)
            except RuntimeError as error:
                raise RequestError(f"timm does not know {network.architecture!r}: {error}") from error
            given = self.body.default_cfg
            mean, std = given.get("mean", (0.5,) * 3), given.get("std", (0.5,) * 3)
            self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
            self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
            features = self.body.num_features
        else:
            self.body = Mlp((width, *network.hidden, *((outputs,) if outputs else ())))
            features = (width, *network.hidden)[-1]
        if network.dual_head:
            self.first, self.second = nn.Linear(features, classes), nn.Linear(features, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits, and those of the second head if there is one."""
        x = self.body((x.float() / 255 - self.mean) / self.std if self.pictures else x)
        if not self.network.dual_head:
            return x, None
        x = x if self.pictures or not len(self.body) else x.relu()
        return self.first(x), self.second(x)


class ClassifierTask(Task):
    """Student and, maybe, teacher."""

    def __init__(self, recipe: ClassifierRecipe) -> None:
        self.recipe = recipe
        self.student = self._begin()
        self.teacher: Classifier | None = None
        if recipe.teacher:
            self.teacher, classes = load_classifier(Path(recipe.teacher))
            if tuple(classes) != recipe.classes:
                raise RequestError(f"the teacher {recipe.teacher} has other classes, or another order of them")
            self.teacher.requires_grad_(False).eval()

    def _begin(self) -> nn.Module:
        recipe = self.recipe
        if recipe.network.pretrained and recipe.network.pretrained != "timm":
            student, classes = load_classifier(Path(recipe.network.pretrained))
            if tuple(classes) != recipe.classes:
                raise RequestError(f"{recipe.network.pretrained} has other classes, or another order of them")
            return student
        return Classifier(recipe.network, len(recipe.classes), self._width())

    def _width(self) -> int:
        """Numbers of an input vector, from the first row."""
        if self.recipe.network.architecture != "mlp":
            return 0
        from potstill.models.trainers.parquet import groups

        found = groups(self.recipe.data, self.recipe.columns())
        first = found.read(found.order(self.recipe.data, 0).window_rows(0)[:1])
        return len(self.recipe.prepare(first, training=False)[INPUT][0])

    def to(self, device: str) -> None:
        """Move both."""
        self.student.to(device)
        if self.teacher is not None:
            self.teacher.to(device)

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """``input`` (B, 3, H, W) bytes or (B, D) float32, and ``target`` (B,)."""
        if self.recipe.network.architecture == "mlp":
            flat = rows[INPUT].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            given = torch.tensor(flat, dtype=torch.float32).view(rows.num_rows, -1)
        else:
            given = torch.from_numpy(as_tensor_bytes(rows[INPUT], self.recipe.network.size))
        inputs = {INPUT: given, TARGET: torch.tensor(rows[TARGET].to_numpy())}
        for name in (BEST, LOGP):
            if name in rows.column_names:
                flat = rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                inputs[name] = torch.tensor(flat).view(rows.num_rows, -1)
        return inputs | ({HEAT: torch.tensor(rows[HEAT].to_numpy())} if HEAT in rows.column_names else {})

    def labels(self, inputs: Inputs) -> Labels:
        """Targets, and which rows have one: masks `labelled`, `unlabelled` and `all`."""
        target = inputs[TARGET]
        labelled = target != IGNORED
        masks = {"labelled": labelled, "unlabelled": ~labelled, "all": torch.ones_like(labelled)}
        return Labels(len(target), target, masks)

    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """Logits, those of the second head as the feature `kd_logits`, and modules' activations by their names."""
        return _seen(student, inputs, [name for name in tapped_names(needs, "student") if name != SECOND])

    def teach(self, inputs: Inputs, needs: frozenset[str]) -> tuple[Output, ...]:
        """The teacher's logits for the same view, or its best classes that were stored for it."""
        if BEST in inputs:
            best = TopK(inputs[BEST], inputs[LOGP], float(inputs[HEAT][0]), len(self.recipe.classes))
            return (Output(logits=best),)
        return () if self.teacher is None else (_seen(self.teacher, inputs, tapped_names(needs, "teacher")),)

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """Logits of the heads, and targets."""
        heads = zip((LOGITS, SECOND), student(inputs[INPUT]), strict=True)
        said = {name: x.float().cpu().numpy() for name, x in heads if x is not None}
        return said | {TARGET: inputs[TARGET].cpu().numpy()}

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Top-1 accuracy and cross-entropy in nats over the rows with a label.

        Of two heads also each one's accuracy, and the blend that would have been the most accurate here.
        """
        known = answers[TARGET] != IGNORED
        if not known.any():
            raise RequestError(f"no validation row has a value in {self.recipe.label!r}")
        target = answers[TARGET][known]
        logits = torch.from_numpy(answers[LOGITS][known])
        if SECOND not in answers:
            return _measures(logits.softmax(1), target)
        second = torch.from_numpy(answers[SECOND][known])
        alpha, beta = self.recipe.blend
        found = _measures(blend(logits, second, alpha=alpha, beta=beta), target)
        tried = {pair: _accuracy(blend(logits, second, alpha=pair[0], beta=pair[1]), target) for pair in GRID}
        best = max(tried, key=lambda pair: tried[pair])
        heads = {"accuracy_first": _accuracy(logits, target), "accuracy_second": _accuracy(second, target)}
        return found | heads | {"accuracy_best": tried[best], "best_alpha": best[0], "best_beta": best[1]}

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """``config.json`` and ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: x.contiguous() for name, x in weights.items()}, folder / "model.safetensors")
        network: dict[str, Any] = self.recipe.network.model_dump(mode="json") | {"pretrained": None}
        config = {"kind": "classifier", **network, "classes": self.recipe.classes, "width": self._width()}
        config["blend"] = self.recipe.blend
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _seen(model: nn.Module, inputs: Inputs, names: list[str]) -> Output:
    with taps(model, names) as features:
        logits, second = model(inputs[INPUT])
    return Output(logits=logits, features=features if second is None else {**features, SECOND: second})


def _accuracy(scores: Tensor, target: np.ndarray) -> float:
    return float(top_k(scores.numpy(), target).mean())


def _measures(probabilities: Tensor, target: np.ndarray) -> dict[str, float]:
    wanted = probabilities[torch.arange(len(target)), torch.from_numpy(target)]
    loss = -wanted.clamp(min=1e-30).log().double().mean().item()
    return {"accuracy": _accuracy(probabilities, target), "loss": loss}


def load_classifier(folder: Path) -> tuple[Classifier, list[str]]:
    """A classifier that was exported, and its classes."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    given = {name: config[name] for name in ("architecture", "hidden", "size", "dual_head")}
    network = Network.model_validate(given)
    model = Classifier(network, len(config["classes"]), config["width"])
    model.blend = tuple(config.get("blend", model.blend))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model, config["classes"]
