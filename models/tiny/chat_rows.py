"""Training rows: one picture and many turns in a tree, so that the picture is paid for once and no turn sees
another's answer.

A row of tokens is a prefix (user mark and picture) followed by turns. A turn sees itself and, unless it is text-only,
the prefix; its positions go on from the end of the prefix. This equals as many separate conversations, at a fraction
of the cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from potstill.models.tiny.chat_judges import Prompt, Turn, caption_text, garble, judge_turn, slip
from potstill.models.tiny.chat_questions import coins, draw, questions, usual_kinds
from potstill.models.tiny.chat_tokens import ASSISTANT, END, IMAGE_TEXT, USER
from potstill.models.tiny.scenes import Scene

UNUSED: Final = -1  # segment of padding
PREFIX: Final = USER + IMAGE_TEXT
USER_WEIGHT: Final = 0.3  # weight of a token of a hooked user turn, where a reply token has 1
SCORE_WEIGHT: Final = 3.0  # weight of the digit of a judge's reply
SEEING: Final = ("describe", "caption", "list", "at", "at", "at", "where", "count", "count", "colour")


MIX: Final = {
    "answer": 0.38, "hook": 0.14, "extract": 0.10, "solvability": 0.14, "clarity": 0.06, "hallucination": 0.12,
    "nonsense": 0.06,
}  # fmt: skip
JUDGING_MIX: Final = {
    "answer": 0.26, "hook": 0.11, "extract": 0.05, "solvability": 0.24, "clarity": 0.04, "hallucination": 0.24,
    "nonsense": 0.06,
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Packed rows: tokens and positions (n, length), mask (n, 1, length, length), and what is learnt of them.

    `where` (k,) are the flat places in n x length where a token is foretold, `targets` (k,) the tokens, `weights` (k,).
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    where: Tensor
    targets: Tensor
    weights: Tensor


def seeing_turns(scene: Scene, rng: np.random.Generator, n: int) -> list[Turn]:
    """Return n turns that read the picture out: captions, lists, cells, counts (the first stage)."""
    kinds = ["describe", *rng.choice(SEEING, size=n - 1)]
    drawn = [draw(scene, str(kind), rng) for kind in kinds]
    return [Turn("answer", question.text, question.answer) for question in drawn]


def hook_turn(scene: Scene, rng: np.random.Generator) -> Turn:
    """Return a first turn that the model learns to say itself: 93 % sound, 3.5 % captions, 2 % vague, 1.5 % broken.

    About 3 % of what the sound ones name is absent, so that a filter has hallucinations to find.
    """
    u = rng.random()
    if u < 0.035:
        return Turn("hook", caption_text(scene, rng), scene.caption(), hooked=True)
    if u < 0.055:
        question = draw(scene, str(rng.choice(("vague", "vague about"))), rng)
        return Turn("hook", question.text, question.answer, hooked=True)
    kinds, weights = usual_kinds(scene)
    question = draw(scene, str(rng.choice(kinds, p=weights)), rng, coins(rng, 0.97))
    if u < 0.07:
        broken = (garble if rng.random() < 0.5 else slip)(question.text, rng)
        return Turn("hook", broken, question.answer, hooked=True)
    return Turn("hook", question.text, question.answer, hooked=True)


def mixed_turns(
    scene: Scene, prompts: Mapping[str, Prompt], rng: np.random.Generator, n: int, *, judging: bool = False
) -> list[Turn]:
    """Return n turns of all tasks: the caption, then tasks drawn by MIX or JUDGING_MIX (more absent things asked)."""
    turns = [Turn("answer", q.text, q.answer) for q in (draw(scene, "describe", rng),)]
    mix = JUDGING_MIX if judging else MIX
    tasks = rng.choice(list(mix), size=n - 1, p=list(mix.values()))
    for task in tasks:
        if task == "hook":
            turns.append(hook_turn(scene, rng))
        elif task == "answer":
            turns += [
                Turn("answer", q.text, q.answer) for q in questions(scene, rng, 1, absent=0.3 if judging else 0.15)
            ]
        else:
            turns.append(judge_turn(str(task), scene, prompts, rng))
    return turns


class Packer:
    """Packs turns behind their picture into rows of a fixed number of tokens; a turn that does not fit is left out."""

    def __init__(self, tokenizer: Tokenizer, pad: int) -> None:
        """Take the fast tokenizer and the id of its padding token."""
        self.tokenizer, self.pad = tokenizer, pad
        self.prefix, self.user, self.assistant, self.end = (self._ids(text) for text in (PREFIX, USER, ASSISTANT, END))

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def turn(self, turn: Turn, texts: Sequence[list[int]]) -> tuple[list[int], list[float]]:
        """Return the tokens of a turn and the weight of predicting each of them, given the encoded (text, reply)."""
        text, reply = texts
        head = [] if turn.image else self.user
        scored = reply[-1:] if turn.reply.startswith("Score: ") else []
        tokens = head + text + self.end + self.assistant + reply + self.end
        asked = USER_WEIGHT if turn.hooked else 0.0
        weights = [0.0] * len(head) + [asked] * (len(text) + 1) + [0.0] * len(self.assistant)
        weights += [1.0] * (len(reply) - len(scored)) + [SCORE_WEIGHT] * len(scored) + [1.0]
        return tokens, weights

    def pack(self, rows: Sequence[Sequence[Turn]], length: int) -> Rows:
        """Return the rows as tensors; `length` tokens each."""
        n, start = len(rows), len(self.prefix)
        tokens = np.full((n, length), self.pad, dtype=np.int64)
        positions, segments = np.zeros((n, length), dtype=np.int64), np.full((n, length), UNUSED, dtype=np.int64)
        sees = np.zeros((n, length), dtype=bool)
        tokens[:, :start], positions[:, :start], segments[:, :start] = self.prefix, np.arange(start), 0
        flat = [text for turns in rows for turn in turns for text in (turn.text, turn.reply)]
        encoded = iter([e.ids for e in self.tokenizer.encode_batch(flat, add_special_tokens=False)])
        learnt: list[tuple[int, int, float]] = []  # where the prediction is made (flat), the token, its weight
        for i, turns in enumerate(rows):
            used = start
            for number, turn in enumerate(turns, 1):
                ids, weights = self.turn(turn, (next(encoded), next(encoded)))
                stop = used + len(ids)
                if stop > length:
                    continue
                tokens[i, used:stop], segments[i, used:stop], sees[i, used:stop] = ids, number, turn.image
                positions[i, used:stop] = np.arange(len(ids)) + (start if turn.image else 0)
                before = [
                    start - 1,
                    *range(used, stop - 1),
                ]  # the first token of a turn is foretold by the end of the prefix
                learnt += [(i * length + b, t, w) for b, t, w in zip(before, ids, weights, strict=True) if w]
                used = stop
        where, targets, weights = (np.array(column) for column in zip(*learnt, strict=True))
        return Rows(
            torch.from_numpy(tokens),
            torch.from_numpy(positions),
            tree_mask(segments, sees),
            torch.from_numpy(where),
            torch.from_numpy(targets),
            torch.from_numpy(weights.astype(np.float32)),
        )


def tree_mask(segments: np.ndarray, sees: np.ndarray) -> Tensor:
    """Return the additive attention mask (n, 1, length, length): 0 where a token sees another, else the lowest float.

    `segments` (n, length) numbers the turns (0 = prefix); `sees` tells which tokens also see the prefix.
    """
    same = segments[:, :, None] == segments[:, None, :]
    prefix = (segments[:, None, :] == 0) & sees[:, :, None]
    allowed = (same | prefix) & np.tri(segments.shape[1], dtype=bool)
    return torch.where(torch.from_numpy(allowed)[:, None], 0.0, torch.finfo(torch.float32).min)
