"""What a CLIP does with a micro-batch: two towers, teachers in memory or in columns, retrieval, and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from potstill.config import RequestError
from potstill.models.losses.loss import Labels, Output
from potstill.models.losses.numerics import IGNORED
from potstill.models.metrics.retrieval import places
from potstill.models.metrics.zero_shot import class_vectors
from potstill.models.trainers import clip_rows
from potstill.models.trainers.clip import ClipRecipe, Inherit
from potstill.models.trainers.clip_network import Blueprint, blueprint, load
from potstill.models.trainers.clip_rows import GROUP, PIXELS, STORED, TARGET, TEACHER_TOKENS, TEXT_ID, TOKENS
from potstill.models.trainers.clip_towers import Towers
from potstill.models.trainers.inherit import inherit
from potstill.models.trainers.pictures import as_tensor_bytes
from potstill.models.trainers.taps import tapped_names
from potstill.models.trainers.task import Inputs, Task

LAYERS = ("resblocks", "blocks", "layer", "layers")
"""What lists of layers are called in open_clip, timm and transformers."""
PREDICTED = "predicted"
TEXTS_AT_ONCE = 256


class ClipTask(Task):
    """A student, at most one teacher in memory, any number in columns."""

    def __init__(self, recipe: ClipRecipe) -> None:
        self.recipe = recipe
        self.plan = clip_rows.student_of(recipe)
        self.towers = self.student = Towers(begun(recipe, self.plan), self.plan)
        self.teacher: Towers | None = None
        if recipe.teacher:
            self.teacher = Towers(*load(recipe.teacher)).requires_grad_(False).eval()
        self._classes: Tensor | None = None

    def to(self, device: str) -> None:
        """Move both."""
        self.student.to(device)
        if self.teacher is not None:
            self.teacher.to(device)

    def blocks(self) -> Sequence[nn.Module]:
        """Layers of both towers."""
        lists = [x for name, x in self.student.named_modules() if name.rpartition(".")[2] in LAYERS]
        return [block for each in lists if isinstance(each, nn.ModuleList | nn.Sequential) for block in each]

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """Pixels as bytes (B, 3, H, W), tokens (B, L), numbers (B,), stored embeddings (B, D)."""
        inputs = {}
        teacher_plan = clip_rows.teacher_of(self.recipe)
        for name in rows.column_names:
            if name in (PIXELS, clip_rows.TEACHER_PIXELS):
                plan = self.plan if name == PIXELS else teacher_plan
                assert plan is not None
                inputs[name] = torch.from_numpy(as_tensor_bytes(rows[name], plan.size))
            elif name in (GROUP, TEXT_ID, TARGET) or name.endswith("/scale"):
                inputs[name] = torch.tensor(rows[name].to_numpy())
            else:
                flat = rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                inputs[name] = torch.tensor(flat).view(rows.num_rows, -1)
        for prefix, model in ((TOKENS, self.towers), (TEACHER_TOKENS, self.teacher)):
            tokens = {name: x for name, x in inputs.items() if name.startswith(prefix)}
            if tokens and model is not None and model.padding is not None:
                inputs |= _trimmed(tokens, model.padding)
        return inputs

    def labels(self, inputs: Inputs) -> Labels:
        """Rows of one group are never negatives of each other."""
        return Labels(len(inputs[GROUP]), group=inputs[GROUP])

    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """Both embeddings, the factor, further texts and inner activations as features."""
        assert isinstance(student, Towers)
        tokens = {name.removeprefix(TOKENS): x for name, x in inputs.items() if name.startswith(TOKENS)}
        return student.output(inputs[PIXELS], tokens, self._inner(needs, "student"))

    def teach(self, inputs: Inputs, needs: frozenset[str]) -> tuple[Output, ...]:
        """The teacher in memory on the same view and texts, then those in columns."""
        names = list(self.recipe.texts)
        given = []
        if self.teacher is not None:
            tokens = {name: inputs[TEACHER_TOKENS + name] for name in names}
            pixels = inputs.get(clip_rows.TEACHER_PIXELS, inputs[PIXELS])
            given.append(self.teacher.output(pixels, tokens, self._inner(needs, "teacher")))
        for k, stored in enumerate(self.recipe.stored):
            image, text, *more = (inputs[f"{STORED}{k}/{name}"] for name in ("image", *names))
            features, scale = dict(zip(names[1:], more, strict=True)), inputs[f"{STORED}{k}/scale"][0]
            given.append(Output(image=image, text=text, scale=scale, bias=stored.bias, features=features))
        return tuple(given)

    def _inner(self, needs: frozenset[str], owner: str) -> list[str]:
        """Modules whose output a loss needs as a feature: what is no text."""
        return [name for name in tapped_names(needs, owner) if name not in self.recipe.texts]

    def begin_evaluation(self, student: nn.Module) -> None:
        """The classes' directions, as the student has them now."""
        if not self.recipe.classes:
            return
        device = next(student.parameters()).device

        def encode(texts: list[str]) -> np.ndarray:
            tokens = self.plan.tokenizer(texts).to(device)
            return (
                torch.cat([student(None, [part])[1][0] for part in tokens.split(TEXTS_AT_ONCE)]).float().cpu().numpy()
            )

        found = class_vectors(encode, self.recipe.classes, self.recipe.templates)
        self._classes = torch.from_numpy(found).to(device)

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """Embeddings (B, D), groups, texts; with classes the nearest one and the right one."""
        image, (text,) = student(inputs[PIXELS], [inputs[TOKENS + "text"]])
        answers = {"image": image.float(), "text": text.float(), GROUP: inputs[GROUP], TEXT_ID: inputs[TEXT_ID]}
        if self._classes is not None:
            answers |= {PREDICTED: (answers["image"] @ self._classes.T).argmax(1), TARGET: inputs[TARGET]}
        return {name: x.cpu().numpy() for name, x in answers.items()}

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Recall at 1 and 5 of texts for pictures and of pictures for texts, the mean of both, zero-shot accuracy.

        Equal texts are one candidate; right for a picture are the texts of its group.
        """
        image, text = answers["image"], answers["text"]
        _, first, at = np.unique(answers[TEXT_ID], return_index=True, return_inverse=True)
        pairs = _pairs(answers[GROUP], at)
        found = {"text": places(image, text[first], pairs), "image": places(text[first], image, pairs[:, ::-1])}
        metrics = {f"{name}_recall_{k}": float(x.hits(k).mean()) for name, x in found.items() for k in (1, 5)}
        metrics |= {f"recall_{k}": (metrics[f"text_recall_{k}"] + metrics[f"image_recall_{k}"]) / 2 for k in (1, 5)}
        if PREDICTED in answers:
            known = answers[TARGET] != IGNORED
            if not known.any():
                raise RequestError(f"no validation row has a value in {self.recipe.label!r}")
            metrics["zero_shot"] = float((answers[PREDICTED] == answers[TARGET])[known].mean())
        return metrics

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """An open_clip folder."""
        state = {name.removeprefix("clip."): x for name, x in weights.items()}
        state |= {name: state[name].reshape(()) for name in ("logit_scale", "logit_bias") if name in state}
        self.plan.write(folder, self.towers.clip, state)


def begun(recipe: ClipRecipe, plan: Blueprint) -> nn.Module:
    """The student before its first step. Raises :class:`RequestError` where weights do not fit it."""
    begin, model = recipe.network.pretrained, plan.build()
    if begin is None:
        return model
    name = begin.inherit if isinstance(begin, Inherit) else begin
    state = load(name)[0].state_dict()
    if isinstance(begin, Inherit):
        state = inherit(state, blueprint(name).model, model.state_dict(), plan.model)
    ours = model.state_dict()
    other = [name for name in ours if name not in state or state[name].shape != ours[name].shape]
    other += [name for name in state if name not in ours]
    if other:
        raise RequestError(
            f"{name} does not fit the student: {len(other)} tensors differ, the first is {other[0]}; take weights of "
            "the same network, or let a smaller one inherit them: network.pretrained={inherit: ...}"
        )
    model.load_state_dict(state)
    return model


def _trimmed(tokens: Mapping[str, Tensor], padding: int) -> dict[str, Tensor]:
    """Tokens without the columns that are padding in every row of every text."""
    longest = max(int(((x != padding) * torch.arange(1, x.shape[1] + 1)).max()) for x in tokens.values())
    return {name: x[:, :longest].contiguous() for name, x in tokens.items()}


def _pairs(groups: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Numbers (p, 2) of pictures and of texts of the same group."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return np.concatenate(
        [np.stack(np.meshgrid(part, texts[part], indexing="ij"), -1).reshape(-1, 2) for part in parts]
    )
