"""What an image-text-to-text model does with a micro-batch; exported as a folder that transformers and vLLM load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from potstill.config import RequestError
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Labels, Output
from potstill.models.losses.numerics import IGNORED
from potstill.models.losses.preferences import answer_log_probs
from potstill.models.metrics.vqa import exact_match
from potstill.models.trainers.branches import POSITION, SEGMENT, tree_mask
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.task import Inputs, Task
from potstill.models.trainers.vlm import VlmRecipe
from potstill.models.trainers.vlm_batch import ATTENTION, OWN, collated, last_answers, prompts
from potstill.models.trainers.vlm_model import choose, load_model, plain_head, save_processor, write
from potstill.models.trainers.vlm_rows import IDS, IDX, LOGP, REFERENCE, TARGET, WEIGHT, Reader, reader_of, two_ways

CHUNKED = frozenset({
    "cross_entropy", "token_kl", "topk_kl", "llava_kd", "gram_relation", "dpo", "llava_mod_preference",
})  # fmt: skip
"""Losses that take hidden states and a head for logits."""


BRANCHES_AGREE = 1e-3
"""Largest relative difference between conversations in one row and alone."""


class VlmTask(Task):
    """Student and, maybe, teacher."""

    def __init__(self, recipe: VlmRecipe) -> None:
        self.recipe, self.reader = recipe, reader_of(recipe, recipe.pretrained)
        self.student: Any = load_model(recipe, recipe.pretrained, recipe.layers)
        self.teacher = self._teacher()
        choose(self.student, recipe.trainable, recipe.lora)
        tokenizer = self.reader.processor.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.classes = self._classes(len(tokenizer))

    def _teacher(self) -> Any:
        """The teacher, frozen; for preferences without one, what the student begins as."""
        recipe = self.recipe
        if recipe.teacher:
            agree(self.reader, reader_of(recipe, recipe.teacher))
            teacher = load_model(recipe, recipe.teacher)
        elif recipe.prefers and not recipe.reference_columns:
            teacher = load_model(recipe, recipe.pretrained, recipe.layers)
        else:
            return None
        return teacher.requires_grad_(False).eval()

    def _classes(self, words: int) -> int | None:
        """How many classes both heads are cut to, where one tokenizer's words were padded to several sizes."""
        sizes = {len(each.get_output_embeddings().weight) for each in (self.student, self.teacher) if each is not None}
        return words if len(sizes) > 1 else None

    def to(self, device: str) -> None:
        """Move both. Raises :class:`RequestError` for a model that does not take branches."""
        self.student.to(device)
        if self.teacher is not None:
            self.teacher.to(device)
        if self.recipe.branches:
            self._check_branches(device)

    def _check_branches(self, device: str) -> None:
        """Two conversations as branches of a row must read as they do alone; some families place tokens themselves."""
        found = groups(self.recipe.data, self.recipe.columns())
        first = found.read(found.order(self.recipe.data, 0).window_rows(0)[:64])
        ways = two_ways(self.recipe, self.reader, first)
        if ways is None:
            return
        one, two = ({name: x.to(device) for name, x in self.collate(way).items()} for way in ways)
        was_training = self.student.training
        self.student.eval()
        try:
            with torch.no_grad():
                together, alone = (_numbers(self._logits(self.student, inputs)) for inputs in (one, two))
            segment, position = one[SEGMENT][0, :-1], one[POSITION][0, :-1]
            known = position < alone.shape[1]
            own = [known & (segment == number) for number in (1, 2)]
            pairs = [(together[0, at], alone[row, position[at]]) for row, at in enumerate(own)]
            off = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise RequestError(self._no_branches(f"{type(error).__name__}: {error}")) from error
        finally:
            self.student.train(was_training)
        if off > BRANCHES_AGREE:
            raise RequestError(self._no_branches(f"its numbers differ by {off:.1%}"))

    def _no_branches(self, why: str) -> str:
        family = type(self.student).__name__
        return f"{family} does not read branches of one row as it reads each by itself ({why}); use messages instead"

    def blocks(self) -> Sequence[nn.Module]:
        """Layers of the language model."""
        return list(self.student.get_decoder().layers)

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """Tokens, targets, pixels, and what is stored of a teacher."""
        return collated(rows, self.pad)

    def labels(self, inputs: Inputs) -> Labels:
        """Targets moved by one, so that a place holds the token that it foretells; masks of answers, pictures, and of
        the chosen answers among pairs.
        """
        target = inputs[TARGET][:, 1:]
        image = self.reader.image_token
        vision = inputs[IDS][:, :-1] == (-1 if image is None else image)
        masks = {"response": target != IGNORED, "vision": vision}
        if self.recipe.prefers:
            masks["chosen"] = masks["response"].clone()
            masks["chosen"][len(target) // 2 :] = False
        weight = inputs[WEIGHT][:, 1:] if WEIGHT in inputs else None
        return Labels(len(target), target, masks, weight)

    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """Logits (B, L - 1, V), or what they are made of."""
        return Output(logits=self._logits(student, inputs))

    def teach(self, inputs: Inputs, needs: frozenset[str]) -> tuple[Output, ...]:
        """The teacher's logits at the same places, its stored best classes, or the reference's log-probabilities."""
        if self.teacher is not None:
            return (Output(logits=self._logits(self.teacher, inputs)),)
        if self.recipe.teacher_columns:
            classes = len(self.student.get_output_embeddings().weight)
            at = self.recipe.teacher_columns.temperature
            return (Output(logits=TopK(inputs[IDX], inputs[LOGP], at, classes)),)
        if self.recipe.reference_columns:
            return (Output(features={REFERENCE: inputs[REFERENCE]}),)
        return ()

    def _logits(self, model: Any, inputs: Inputs) -> Tensor | Hidden:
        given = {name: x for name, x in inputs.items() if name not in OWN}
        if SEGMENT in inputs:
            given[ATTENTION] = tree_mask(inputs[SEGMENT])
        head = plain_head(model)
        chunked = {loss.kind for loss in self.recipe.losses} <= CHUNKED
        if head is None or not chunked or len(head.weight) <= self.recipe.dense_vocabulary:
            return model(**given, use_cache=False).logits[:, :-1, : self.classes]
        hidden = model.base_model(**given, use_cache=False).last_hidden_state
        bias = None if head.bias is None else head.bias[: self.classes]
        return Hidden(hidden[:, :-1], head.weight[: self.classes], bias)

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """Nats and words of each row's answers, its last answer as it is said and as it should be; of pairs how far the
        student is from the reference.
        """
        labels = self.labels(inputs)
        target, valid = inputs[TARGET][:, 1:], labels.masks["response"]
        own = answer_log_probs(self.see(student, inputs, frozenset()).logits, target, valid)
        seen = self._pairs(inputs, own, valid) if self.recipe.prefers else {"nats": -own, "words": valid.sum(1)}
        arrays = {name: x.double().cpu().numpy() for name, x in seen.items()}
        asked = self.recipe.answer_tokens and not self.recipe.prefers and not self.recipe.branches
        return arrays | (self._answers(student, inputs) if asked else {})

    def _pairs(self, inputs: Inputs, own: Tensor, valid: Tensor) -> dict[str, Tensor]:
        (reference,) = self.teach(inputs, frozenset())
        other = reference.features.get(REFERENCE)
        if other is None:
            other = answer_log_probs(reference.logits, inputs[TARGET][:, 1:], valid)
        (chosen, rejected), (first, second) = (own - other).chunk(2), valid.any(1).chunk(2)
        nats, words = -own.chunk(2)[0], valid.sum(1).chunk(2)[0]
        return {"nats": nats, "words": words, "margin": chosen - rejected, "pair": first & second}

    def _answers(self, student: Any, inputs: Inputs) -> dict[str, np.ndarray]:
        """The greedy answer to the last question of each row, given all before it, and the true one."""
        spans = last_answers(inputs[TARGET])
        given = prompts(inputs, [start for start, _ in spans], self.pad)
        tokenizer = self.reader.processor.tokenizer
        said = student.generate(
            **given,
            do_sample=False,
            max_new_tokens=self.recipe.answer_tokens,
            eos_token_id=tokenizer.convert_tokens_to_ids(list(self.reader.ends)),
            pad_token_id=self.pad,
        )[:, given[IDS].shape[1] :]
        true = [inputs[IDS][row, slice(*span)] for row, span in enumerate(spans)]
        texts = {"said": said, "true": true}
        return {
            name: np.array([tokenizer.decode(each, skip_special_tokens=True).strip() for each in tokens], object)
            for name, tokens in texts.items()
        }

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``loss``: nats per word of the answers; ``exact``: share of greedy answers that are the true one, normalised
        as VQA does. For preferences ``preferred``, the share of pairs whose chosen answer the student has made likelier
        than the rejected one, compared with the reference, and the mean ``margin`` in nats.
        """
        words = answers["words"].sum()
        if not words:
            raise RequestError("no validation row has an answer")
        scores = {"loss": float(answers["nats"].sum() / words)}
        if "margin" in answers:
            margins = answers["margin"][answers["pair"] > 0]
            if not len(margins):
                raise RequestError("no validation row has both a chosen and a rejected answer")
            return scores | {"preferred": float((margins > 0).mean()), "margin": float(margins.mean())}
        if "said" in answers:
            both = zip(answers["said"], answers["true"], strict=True)
            scores["exact"] = float(np.mean([exact_match(said, [true]) for said, true in both if true]))
        return scores

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Weights, settings, processor and chat template."""
        folder.mkdir(parents=True, exist_ok=True)
        write(self.recipe, self.student, weights, folder)
        save_processor(self.reader.processor, folder)


def _numbers(logits: Tensor | Hidden) -> Tensor:
    return logits.h if isinstance(logits, Hidden) else logits


def agree(own: Reader, other: Reader) -> None:
    """Raise :class:`RequestError` that names both models where their tokens, template or pictures are not the same."""
    mine, theirs = own.identity(), other.identity()
    differ = [name for name in mine if mine[name] != theirs[name]]
    if differ:
        told = "; ".join(f"{name} {mine[name][:12]} and {theirs[name][:12]}" for name in differ)
        raise RequestError(
            f"the teacher {other.name} does not read as {own.name} does ({told}); choose a teacher of the same family, "
            "or train on answers that it wrote"
        )
