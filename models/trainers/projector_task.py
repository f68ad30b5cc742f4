"""What projectors do with a micro-batch, and their plain format: config.json and model.safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import xxhash
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from potstill.config import RequestError
from potstill.models.losses.logits import TopK
from potstill.models.losses.loss import Labels, Output
from potstill.models.losses.numerics import unit
from potstill.models.metrics.retrieval import places
from potstill.models.trainers.classifier_task import Mlp
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.projector import BEST, HEAT, LOGP, MASK, PAIRED, WRONG, ProjectorRecipe
from potstill.models.trainers.task import Inputs, Task

SIDES = ("image", "text")


class Projectors(nn.Module):
    """Vectors of pictures (B, I) and of texts (M, T) into one space of unit rows (B, width) and (M, width)."""

    def __init__(
        self,
        widths: Mapping[str, tuple[int, ...]],
        scale: float = 1.0,
        *,
        normalise: bool = True,
        text_bias: bool = True,
        classes: bool = False,
        noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image, self.text = Mlp(tuple(widths["image"])), Mlp(tuple(widths["text"]), bias=text_bias)
        self.normalise, self.noise, self.dropout = normalise, noise, dropout
        # FSDP shards no scalars, so factors have a dimension.
        self.log_scale = nn.Parameter(torch.tensor([math.log(scale)]))
        if classes:
            self.log_class_scale = nn.Parameter(torch.tensor([math.log(scale)]))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both, and the factor of their similarities. In training, pictures are disturbed."""
        if self.normalise:
            image, text = unit(image), unit(text)
        if self.training and self.noise:
            image = image + self.noise * torch.randn_like(image)
        image = functional.dropout(image, self.dropout, self.training)
        return unit(self.image(image)), unit(self.text(text)), factor(self.log_scale)


def factor(log: Tensor) -> Tensor:
    """The factor of similarities whose logarithm is learnt (1,), at most 100."""
    return log.exp().clamp(max=100)[0]


class ProjectorTask(Task):
    """Two projectors; a teacher only as it was stored."""

    def __init__(self, recipe: ProjectorRecipe) -> None:
        self.recipe = recipe
        self.widths = {side: (width, *recipe.hidden, recipe.width) for side, width in self._found_widths().items()}
        self.classes = None if recipe.classes is None else load_file(recipe.classes)["classes"].float()
        if self.classes is not None and self.classes.shape[1] != self.widths["text"][0]:
            raise RequestError(
                f"classes: {recipe.classes} has vectors of {self.classes.shape[1]} numbers, and the texts have "
                f"{self.widths['text'][0]}"
            )
        self.student = Projectors(
            self.widths, recipe.scale, noise=recipe.noise, dropout=recipe.dropout, **self._network()
        )

    def _network(self) -> dict[str, bool]:
        """What the network is beside its widths."""
        recipe = self.recipe
        return {"normalise": recipe.normalise, "text_bias": recipe.text_bias, "classes": recipe.classes is not None}

    def _found_widths(self) -> dict[str, int]:
        """Numbers of a vector of each side, from the first row that has one."""
        found = groups(self.recipe.data, self.recipe.validation_columns())
        order = found.order(self.recipe.data, self.recipe.seed)
        first = self.recipe.prepare(found.read(order.window_rows(0)), training=False)
        lengths = {side: pc.max(pc.list_value_length(first[side])).as_py() for side in SIDES}
        for side, name in (("image", self.recipe.image), ("text", self.recipe.text)):
            if not lengths[side]:
                raise RequestError(f"column {name!r} has no vector in the first {first.num_rows} rows")
        return lengths

    def to(self, device: str) -> None:
        """Move the student and the classes' vectors."""
        super().to(device)
        self.classes = None if self.classes is None else self.classes.to(device)

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """``image`` (B, I), ``text`` (B, T) with zeros where a row has none, ``mask.*`` (B,); and if asked for
        ``group`` (B,), ``negatives`` (B, K, T) with zeros for what is not there, a teacher's ``best``, ``logp`` (B, k).
        """
        there = torch.from_numpy(pc.is_valid(rows["text"]).to_numpy())
        made = {"image": _flat(rows["image"], self.widths["image"][0])}
        made["text"] = torch.zeros(rows.num_rows, self.widths["text"][0])
        made["text"][there] = _flat(rows["text"], self.widths["text"][0])
        made |= {name: torch.tensor(rows[name].to_numpy()) for name in rows.column_names if name.startswith(MASK)}
        made.setdefault(MASK + PAIRED, there)
        if "group" in rows.column_names:
            hashed = [xxhash.xxh3_64_intdigest(str(value).encode()) >> 1 for value in rows["group"].to_pylist()]
            made["group"] = torch.tensor(hashed)
        if WRONG in rows.column_names:
            made[WRONG] = self._negatives(rows[WRONG])
        return made | (self._best(rows) if BEST in rows.column_names else {})

    def _negatives(self, column: pa.ChunkedArray) -> Tensor:
        """Lists of vectors (B, K, T), K being the same everywhere."""
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        flat = _flat(pc.list_flatten(column), self.widths["text"][0])
        row = np.repeat(np.arange(len(counts)), counts)
        slot = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        kept = slot < self.recipe.negatives_each
        made = torch.zeros(len(counts), self.recipe.negatives_each, flat.shape[1])
        made[row[kept], slot[kept]] = flat[kept]
        return made

    @staticmethod
    def _best(rows: pa.Table) -> dict[str, Tensor]:
        """The teacher's best classes; where it said nothing, the first class, which no loss may count."""
        known = pc.is_valid(rows[BEST]).to_numpy()
        k = pc.max(pc.list_value_length(rows[BEST])).as_py() or 1
        best, logp = torch.zeros(rows.num_rows, k, dtype=torch.int64), torch.full((rows.num_rows, k), -torch.inf)
        logp[:, 0] = 0
        best[known], logp[known] = _flat(rows[BEST], k), _flat(rows[LOGP], k)
        heat = pc.max(rows[HEAT]).as_py() or 1.0
        return {BEST: best, LOGP: logp, HEAT: torch.full((rows.num_rows,), heat)}

    def labels(self, inputs: Inputs) -> Labels:
        """Groups and masks."""
        masks = {name.removeprefix(MASK): x for name, x in inputs.items() if name.startswith(MASK)}
        return Labels(len(inputs["image"]), masks=masks, group=inputs.get("group"))

    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """Projected embeddings, those of wrong texts as the feature `negatives`, and logits of the classes."""
        texts, wrong = [inputs["text"]], inputs.get(WRONG)
        there = None if wrong is None else wrong.any(-1)
        if wrong is not None:
            texts.append(wrong[there])
        if self.classes is not None:
            texts.append(self.classes)
        image, text, scale = student(inputs["image"], torch.cat(texts))
        own, *others = text.split([len(each) for each in texts])
        # Without a text there is no embedding, also where layers have a bias.
        own, features, logits = own * inputs[MASK + PAIRED][:, None], {}, None
        if there is not None:
            features[WRONG] = own.new_zeros(*there.shape, own.shape[1]).masked_scatter(there[..., None], others[0])
        if self.classes is not None:
            logits = factor(student.log_class_scale) * image @ others[-1].T
        return Output(image=image, text=own, scale=scale, features=features, logits=logits)

    def teach(self, inputs: Inputs, needs: frozenset[str]) -> tuple[Output, ...]:
        """The best classes that were stored."""
        if BEST not in inputs:
            return ()
        assert self.classes is not None
        return (Output(logits=TopK(inputs[BEST], inputs[LOGP], float(inputs[HEAT][0]), len(self.classes))),)

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """Embeddings, and which rows have a text."""
        image, text, _ = student(inputs["image"], inputs["text"])
        said = {"image": image, "text": text, PAIRED: inputs[MASK + PAIRED]}
        return {name: x.cpu().numpy() for name, x in said.items()}

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Recall at 1 and 5 in both directions of the rows with a text, each row's own text being the right one."""
        known = answers[PAIRED]
        if not known.any():
            raise RequestError(f"no validation row has a vector in {self.recipe.text!r}")
        sides = {side: answers[side][known] for side in SIDES}
        own = np.repeat(np.arange(len(sides["image"]))[:, None], 2, axis=1)
        found = {}
        for name, one, other in (("image_to_text", "image", "text"), ("text_to_image", "text", "image")):
            at = places(sides[one], sides[other], own)
            found |= {f"{name}_r{k}": float(at.hits(k).mean()) for k in (1, 5)}
        return found | {"r1": (found["image_to_text_r1"] + found["text_to_image_r1"]) / 2}

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """``config.json`` and ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: x.contiguous() for name, x in weights.items()}, folder / "model.safetensors")
        config = {"kind": "projector", "image": self.recipe.image, "text": self.recipe.text, "widths": self.widths}
        (folder / "config.json").write_text(json.dumps(config | self._network(), indent=2), encoding="utf-8")


def load_projectors(folder: Path) -> Projectors:
    """Projectors that were exported, for use."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Projectors(config["widths"], **{name: config[name] for name in ("normalise", "text_bias", "classes")})
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def _flat(column: pa.ChunkedArray, width: int) -> Tensor:
    """Lists of equal length that are there (N, width), nulls left out."""
    flat = pc.list_flatten(column)
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    return torch.tensor(flat.to_numpy(zero_copy_only=False)).view(-1, width)
