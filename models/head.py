"""A small network of linear layers, read from safetensors, applied by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from potstill.config import RequestError

Layer = tuple[np.ndarray, np.ndarray]
"""Weights (out, in) and bias (out,), float32."""


def forward(features: np.ndarray, layers: Sequence[Layer], activation: str) -> np.ndarray:
    """Features (n, d) through linear layers with an activation between them: (n, outputs)."""
    for number, (weight, bias) in enumerate(layers):
        if number and activation == "relu":
            features = np.maximum(features, 0)
        elif number and activation == "gelu":
            features = features * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (features + 0.044715 * features**3)))
        features = features @ weight.T + bias
    return features


def load_layers(path: Path) -> list[Layer]:
    """The linear layers in a safetensors file, in order. Raises :class:`RequestError` for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RequestError(f"weights {path}: {error}; give a .safetensors file") from error
    names = sorted((name for name in tensors if name.endswith("weight")), key=_place)
    layers: list[Layer] = []
    for name in names:
        weight = tensors[name].astype(np.float32)
        bias = tensors.get(f"{name.removesuffix('weight')}bias")
        if weight.ndim != 2 or (layers and weight.shape[1] != layers[-1][0].shape[0]):
            raise RequestError(f"weights {path}: {name} of shape {weight.shape} is no layer behind the one before it")
        layers.append((weight, np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32)))
    if not layers:
        raise RequestError(f"weights {path}: no tensor is called '….weight'; there are {', '.join(tensors) or 'none'}")
    return layers


def _place(name: str) -> tuple[list[int], str]:
    return [int(part) for part in name.split(".") if part.isdigit()], name
