"""open_clip's own text towers, cut to fewer places: a causal one needs to read a text up to its end only."""

import copy
from typing import Any


def is_causal(model: Any) -> bool:
    """Whether a text's row comes from its end token, which is the largest, and sees nothing behind it."""
    text = getattr(model, "text", model)
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    plain = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    return pool == "argmax" and plain


def cut(model: Any, columns: int) -> Any:
    """A model whose causal text tower takes texts of so many columns: open_clip's take only their own number."""
    if "text" not in model._modules:
        return _cut(model, columns)
    whole = copy.copy(model)
    whole._modules = {**model._modules, "text": _cut(model.text, columns)}
    return whole


def _cut(text: Any, columns: int) -> Any:
    """A causal text tower with the same tensors but for fewer places."""
    import torch

    tower = copy.copy(text)
    places = torch.nn.Parameter(text.positional_embedding[:columns], requires_grad=False)
    tower._parameters = {**text._parameters, "positional_embedding": places}
    tower._buffers = {**text._buffers, "attn_mask": text.attn_mask[:columns, :columns]}
    return tower
