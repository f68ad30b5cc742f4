"""The two matrices of the tiny CLIP, fitted on cached features of frozen towers.

Three terms, summed: contrastive loss on picture-label pairs; contrastive loss on scenes, whose captions with one
planted error are extra negatives; and distillation of the ImageNet classifier, which needs no captions and is what
carries over to photographs. Contrastive loss: Radford et al. 2021, arXiv 2103.00020, with equal captions as joint
positives (Khosla et al. 2020, arXiv 2004.11362, L_out). Frozen towers, trained heads: Zhai et al. 2022, arXiv
2111.07991.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from potstill.models.tiny.clip import EMBEDDING_DIM


@dataclass(frozen=True)
class Pairs:
    """Pictures and what is true of them: rows (n, 1280), and per picture the texts it may be paired with, by row of
    `texts`.
    """

    rows: Tensor
    choices: Tensor  # (n, k) rows of the text table
    concept: Tensor  # (n,) equal numbers are positives of each other


@dataclass(frozen=True)
class Scenes:
    """Scenes (n, 1280) with rows of the text table (n, 1 + k): the true caption, then captions with one planted
    error.
    """

    rows: Tensor
    captions: Tensor


@dataclass(frozen=True)
class Teacher:
    """The ImageNet classifier and the sentence vectors (1000, 384) of its classes."""

    weight: Tensor
    bias: Tensor
    texts: Tensor


@dataclass(frozen=True)
class Recipe:
    """Settings of one fit; the defaults made the shipped weights."""

    steps: int = 1500
    pairs: int = 256
    scenes: int = 192
    distilled: int = 256
    peak_lr: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    noise: float = 0.4
    steer: float = 18.0
    distil_weight: float = 2.0
    scene_weight: float = 1.0
    seed: int = 0


class Projection(torch.nn.Module):
    """Standardised image features and sentence vectors into one space of unit rows."""

    def __init__(self, rows: Tensor, text_width: int) -> None:
        super().__init__()
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("std", rows.std(0) + 0.05)
        self.image = torch.nn.Linear(rows.shape[1], EMBEDDING_DIM)
        self.text = torch.nn.Linear(text_width, EMBEDDING_DIM, bias=False)
        self.scale = torch.nn.Parameter(torch.tensor([3.0, 3.0, 4.0]))  # log scales: pairs, scenes, distillation

    def pictures(self, rows: Tensor, dropout: float = 0.0, noise: float = 0.0) -> Tensor:
        """Unit rows (n, 256) of image features (n, 1280)."""
        z = (rows - self.mean) / self.std
        if noise:
            z = z + noise * torch.randn_like(z)
        return F.normalize(self.image(F.dropout(z, dropout) if dropout else z), dim=-1)

    def captions(self, rows: Tensor) -> Tensor:
        """Unit rows (n, 256) of sentence vectors (n, 384)."""
        return F.normalize(self.text(rows), dim=-1)

    def folded(self) -> dict[str, Tensor]:
        """open_clip's tensors, the standardisation folded into the image matrix; float16, contiguous."""
        weight = self.image.weight / self.std
        tensors = {
            "visual.head.proj.weight": weight,
            "visual.head.proj.bias": self.image.bias - weight @ self.mean,
            "text.proj.weight": self.text.weight,
            "logit_scale": self.scale[0],
        }
        return {name: t.detach().half().contiguous() for name, t in tensors.items()}


def contrastive(pictures: Tensor, texts: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Symmetric contrastive loss in nats of unit rows.

    pictures (n, d), texts (m, d), same (n, m) bool, True for a right pair, at least one in each row. Every text is a
    candidate for every picture; a text that is right for no picture is only a negative.
    """
    logits = scale.exp().clamp(max=100) * pictures @ texts.T
    to_text = _positives(logits, same)
    used = same.any(dim=0)
    to_picture = _positives(logits.T[used], same.T[used])
    return (to_text + to_picture) / 2


def _positives(logits: Tensor, same: Tensor) -> Tensor:
    logs = logits.log_softmax(dim=1).masked_fill(~same, 0)
    return -(logs.sum(1) / same.sum(1)).mean()


def distillation(model: Projection, rows: Tensor, pictures: Tensor, teacher: Teacher) -> Tensor:
    """KL divergence in nats from the classifier's class probabilities of `rows` to the softmax over class texts."""
    target = F.log_softmax(rows @ teacher.weight.T + teacher.bias, dim=1)
    logits = model.scale[2].exp().clamp(max=100) * pictures @ model.captions(teacher.texts).T
    return F.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)


def steered(rows: Tensor, teacher: Teacher, reach: float) -> Tensor:
    """Rows pushed towards a random class each by 0..`reach` along its classifier weights, kept non-negative.

    The pictures at hand show a few hundred of the 1000 classes; this lets the distillation see them all.
    """
    direction = teacher.weight - teacher.weight.mean(0)
    chosen = F.normalize(direction[torch.randint(len(direction), (len(rows),))], dim=1)
    return (rows + reach * torch.rand(len(rows), 1) * chosen).clamp(min=0)


def fit(pairs: Pairs, scenes: Scenes, extra: Tensor, texts: Tensor, teacher: Teacher, recipe: Recipe) -> Projection:
    """Train from `recipe.seed` on random batches; `extra` (n, 1280) are pictures used for distillation only.

    Changes torch's global random state: dropout draws from it.
    """
    torch.manual_seed(recipe.seed)
    anything = torch.cat([pairs.rows, extra, extra])
    model = Projection(anything, texts.shape[1])
    matrices = [model.image.weight, model.text.weight]
    rest = [model.image.bias, model.scale]
    optimiser = torch.optim.AdamW(
        [{"params": matrices}, {"params": rest, "weight_decay": 0.0}], weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.peak_lr, recipe.steps, pct_start=0.1)
    for _ in range(recipe.steps):
        loss = _step(model, pairs, scenes, anything, texts, teacher, recipe)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model


def _step(
    model: Projection, pairs: Pairs, scenes: Scenes, anything: Tensor, texts: Tensor, teacher: Teacher, recipe: Recipe
) -> Tensor:
    i = torch.randint(len(pairs.rows), (recipe.pairs,))
    said = pairs.choices[i, torch.randint(pairs.choices.shape[1], (recipe.pairs,))]
    concept = pairs.concept[i]
    seen = model.pictures(pairs.rows[i], recipe.dropout, recipe.noise)
    loss = contrastive(seen, model.captions(texts[said]), concept[:, None] == concept[None, :], model.scale[0])

    j = torch.randint(len(scenes.rows), (recipe.scenes,))
    told = scenes.captions[j].T.reshape(-1)  # all true captions first, then all wrong ones
    seen = model.pictures(scenes.rows[j], recipe.dropout, recipe.noise)
    same = scenes.captions[j][:, :1] == told[None, :]
    loss = loss + recipe.scene_weight * contrastive(seen, model.captions(texts[told]), same, model.scale[1])

    rows = steered(anything[torch.randint(len(anything), (recipe.distilled,))], teacher, recipe.steer)
    return loss + recipe.distil_weight * distillation(model, rows, model.pictures(rows), teacher)
