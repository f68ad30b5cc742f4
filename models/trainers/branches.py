"""Conversations about the same pictures in one row of tokens: what they share stands there once.

Each branch sees what is shared and itself, at the places in which it would stand by itself, so that the row gives what
as many separate rows would give, and the pictures are paid for once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from potstill.models.trainers.chat_targets import Tokens

if TYPE_CHECKING:
    from torch import Tensor

SEGMENT, POSITION = "segment", "position_ids"
"""Of each token: 0 for what is shared, else the branch's number from 1; and its place in its own conversation."""
PADDING = -1


def packed(branches: Sequence[Tokens], image_token: int | None) -> Tokens:
    """One row of tokens from several that begin alike, with :data:`SEGMENT` and :data:`POSITION` among its kinds.

    What is shared ends before the first token to learn, and before the one that foretells it, which each branch has for
    itself. Raises ``ValueError`` where that leaves tokens of pictures outside.
    """
    shared = _shared(branches)
    for each in branches:
        if image_token is not None and (each.ids[shared:] == image_token).any():
            raise ValueError(
                "the conversations about a picture do not begin alike up to behind it, or learn the word right behind "
                "it; put them into rows of their own"
            )

    def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([arrays[0][:shared], *(x[shared:] for x in arrays)])

    lengths = [len(each.ids) for each in branches]
    kinds = {name: joined([each.kinds[name] for each in branches]) for name in branches[0].kinds}
    kinds[SEGMENT] = np.repeat(np.arange(len(lengths) + 1, dtype=np.int32), [shared, *(n - shared for n in lengths)])
    kinds[POSITION] = joined([np.arange(n) for n in lengths])
    ids, weight = joined([each.ids for each in branches]), joined([each.weight for each in branches])
    return Tokens(ids, weight, kinds, branches[0].pixels)


def _shared(branches: Sequence[Tokens]) -> int:
    """How many tokens at the beginning may stand there once."""
    most = min(min(_first_learnt(each), len(each.ids)) for each in branches) - 1
    for one, other in pairwise(branches):
        differ = np.flatnonzero(one.ids[:most] != other.ids[:most])
        most = int(differ[0]) if len(differ) else most
    return max(most, 0)


def _first_learnt(tokens: Tokens) -> int:
    found = np.flatnonzero(tokens.weight)
    return int(found[0]) if len(found) else len(tokens.ids)


def tree_mask(segment: Tensor) -> Tensor:
    """Mask of attention (B, 1, L, L), float32, of segments (B, L): 0 where a token sees another, else the lowest."""
    import torch

    same = segment[:, :, None] == segment[:, None, :]
    seen = torch.tril(same | (segment[:, None, :] == 0) & (segment[:, :, None] != PADDING))
    return torch.where(seen[:, None], 0.0, torch.finfo(torch.float32).min)
