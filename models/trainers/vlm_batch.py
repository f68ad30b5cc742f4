"""Packed rows as the tensors of a micro-batch, and prompts as a generating model wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from potstill.models.losses.numerics import IGNORED
from potstill.models.trainers.branches import PADDING, SEGMENT
from potstill.models.trainers.vlm_rows import (
    ANSWER,
    IDS,
    IDX,
    LOGP,
    PIXELS,
    REFERENCE,
    REJECTED,
    STORED,
    TARGET,
    WEIGHT,
    unpacked,
)

ATTENTION = "attention_mask"
OWN = frozenset({TARGET, WEIGHT, IDX, LOGP, REFERENCE, SEGMENT})
"""Tensors of a micro-batch that are not the model's."""


def collated(rows: pa.Table, pad: int) -> dict[str, Tensor]:
    """Tokens (B, L) padded on the right, pixels as the model wants them, a stored teacher (B, L - 1, k) or reference
    (B,); of pairs first all chosen answers, then all rejected ones. ``target`` (B, L) is -100 where there is none.
    ``weight`` (B, L) is there only where the data weighs its turns.
    """
    answers, pixels = unpacked(rows[ANSWER]), unpacked(rows[PIXELS])
    if REJECTED in rows.column_names:
        answers, pixels = answers + unpacked(rows[REJECTED]), pixels + pixels
    weights = [each.pop(WEIGHT) for each in answers]
    for each, weight in zip(answers, weights, strict=True):
        each[TARGET] = np.where(weight, each[IDS], IGNORED)
    fill = {IDS: pad, TARGET: IGNORED, SEGMENT: PADDING}
    names = dict.fromkeys(name for each in answers for name in each)
    zeros = [np.zeros(len(each[IDS]), np.int32) for each in answers]
    inputs = {
        name: padded([each.get(name, zero) for each, zero in zip(answers, zeros, strict=True)], fill.get(name, 0))
        for name in names
    }
    inputs[ATTENTION] = padded([zero + 1 for zero in zeros], 0)
    if any(((weight != 0) & (weight != 1)).any() for weight in weights):
        inputs[WEIGHT] = padded([np.where(weight, weight, 1) for weight in weights], 1, torch.float32)
    inputs |= joined(pixels)
    if STORED not in rows.column_names:
        return inputs
    stored = unpacked(rows[STORED])
    if REFERENCE in stored[0]:
        return inputs | {REFERENCE: torch.from_numpy(np.stack([each[REFERENCE] for each in stored], 1).ravel())}
    return inputs | best_classes(stored, inputs[TARGET][:, 1:])


def best_classes(stored: Sequence[Mapping[str, np.ndarray]], target: Tensor) -> dict[str, Tensor]:
    """Stored classes and log-probabilities (B, L, k) at the places that have a target (B, L)."""
    k = max((each[IDX].shape[-1] for each in stored if each[IDX].size), default=1)
    idx = torch.zeros(*target.shape, k, dtype=torch.long)
    logp = torch.full((*target.shape, k), float("-inf"))
    logp[..., 0] = 0.0
    for row, each in enumerate(stored):
        if each[IDX].size:
            places, own = (target[row] != IGNORED).nonzero()[:, 0], each[IDX].shape[-1]
            idx[row, places, :own] = torch.from_numpy(each[IDX]).long()
            logp[row, places, :own] = torch.from_numpy(each[LOGP])
    return {IDX: idx, LOGP: logp}


def padded(rows: Sequence[np.ndarray], fill: int, dtype: torch.dtype = torch.long) -> Tensor:
    """Rows (L,) of any length as (B, longest), filled up on the right."""
    out = torch.full((len(rows), max(map(len, rows))), fill, dtype=dtype)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.from_numpy(row)
    return out


def joined(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """Pixels of several rows, one after the other, with zeros up to the largest: as processors batch them."""
    out = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        arrays = [row[name] for row in rows if name in row]
        largest = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
        margins = [largest - array.shape[1:] for array in arrays]
        whole = [
            np.pad(array, [(0, 0), *((0, int(more)) for more in margin)])
            for array, margin in zip(arrays, margins, strict=True)
        ]
        out[name] = torch.from_numpy(np.concatenate(whole))
    return out


def last_answers(target: Tensor) -> list[tuple[int, int]]:
    """For each row of ``target`` (B, L) the first place of its last answer and the one after it; (L, L) without."""
    return [_last_run((row != IGNORED).tolist()) for row in target]


def _last_run(learnt: list[bool]) -> tuple[int, int]:
    if not any(learnt):
        return len(learnt), len(learnt)
    stop = len(learnt) - learnt[::-1].index(True)
    start = next((place + 1 for place in range(stop - 1, -1, -1) if not learnt[place]), 0)
    return start, stop


def prompts(inputs: Mapping[str, Tensor], lengths: Sequence[int], pad: int) -> dict[str, Tensor]:
    """The model's tensors with only the first ``lengths`` tokens of each row, padded on the left."""
    given = {name: x for name, x in inputs.items() if name not in OWN}
    width = max(lengths)
    for name in (IDS, ATTENTION, *(name for name in given if name.endswith("token_type_ids"))):
        moved = torch.full((len(lengths), width), pad if name == IDS else 0, device=given[name].device)
        for row, length in enumerate(lengths):
            moved[row, width - length :] = given[name][row, :length]
        given[name] = moved
    return given
