"""A filter network on frozen embeddings: two projections, trained by InfoNCE on trusted pairs.

Source: Data Filtering Networks (Fang et al. 2023, arXiv 2309.17425): a small CLIP trained on few clean pairs filters
better than a large one trained on many. Here the encoders stay as they are; only what lies behind them is trained.
"""

from __future__ import annotations

import numpy as np


def fit(
    images: np.ndarray,
    texts: np.ndarray,
    *,
    steps: int,
    batch: int,
    lr: float,
    weight_decay: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Projections (d, d) of images and texts, from trusted pairs: unit rows (n, d) and (n, d), n at least 2.

    Both start as the identity, so that without training the score is the CLIP score; ``weight_decay`` pulls back to it.
    The temperature starts at 0.07 and is learnt. InfoNCE in both directions, over random batches. Same seed, same
    result on one machine.
    """
    import torch
    from torch.nn import functional

    first, second = (torch.from_numpy(np.ascontiguousarray(rows, np.float32)) for rows in (images, texts))
    draw = torch.Generator().manual_seed(seed)
    change = [torch.zeros(first.shape[1], first.shape[1], requires_grad=True) for _ in range(2)]
    scale = torch.tensor(np.log(1 / 0.07), dtype=torch.float32, requires_grad=True)
    groups = [{"params": change, "weight_decay": weight_decay}, {"params": [scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=lr)
    for _ in range(steps):
        rows = torch.randperm(len(first), generator=draw)[:batch]
        one, other = (
            functional.normalize(part[rows] + part[rows] @ delta, dim=1)
            for part, delta in zip((first, second), change, strict=True)
        )
        logits = one @ other.T * scale.exp().clamp(max=100)
        right = torch.arange(len(rows))
        loss = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    identity = np.eye(first.shape[1], dtype=np.float32)
    return identity + change[0].detach().numpy(), identity + change[1].detach().numpy()


def score(images: np.ndarray, texts: np.ndarray, projections: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Cosine of the projected rows (n, d) and (n, d): float32 (n,), -1 to 1."""
    one, other = images @ projections[0], texts @ projections[1]
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dot = np.einsum("nd,nd->n", one, other)
    return np.clip(np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0), -1, 1)
