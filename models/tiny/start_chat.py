"""Builds the tiny chat model, teaches its tower to see, and writes it as a folder that the trainer `vlm` begins with.

    python -m potstill.models.tiny.start_chat --prompts pipelines/synthesizers/prompts --out START

The image tokens learn to lie near the words of what their cells show (:func:`cell_loss`); no word is said yet.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from potstill.models.tiny.chat_judges import Prompt, read_prompts
from potstill.models.tiny.chat_model import (
    build_model,
    cell_loss,
    cell_targets,
    cell_words,
    image_tokens,
    pixels,
    start_attention,
    start_patches,
    start_words,
)
from potstill.models.tiny.chat_rows import VARIANTS
from potstill.models.tiny.chat_tokens import build_processor, build_tokenizer
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, EMPTY, TRAIN_STYLES, SpriteBank, sample_scene

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """All that decides the result, besides the prompts: sizes, steps, batch, rate, seed."""

    seed: int = 0
    width: int = 192
    layers: int = 4
    tower_layers: int = 3
    vocabulary_rows: int = 3000
    variants: int = VARIANTS
    steps: int = 2400
    batch: int = 40
    rate: float = 1.2e-3


class Start:
    """The model, its tokenizer, and the steps of its tower."""

    def __init__(self, settings: Settings, prompts: dict[str, Prompt]) -> None:
        """Build tokenizer and model from the seed."""
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.tokenizer = build_tokenizer(prompts, settings.seed, settings.vocabulary_rows)
        self.model = build_model(
            self.tokenizer, width=settings.width, layers=settings.layers, tower_layers=settings.tower_layers
        )
        self.bank = SpriteBank(styles=TRAIN_STYLES, variants=settings.variants, seed=settings.seed)
        self.words = cell_words(self.tokenizer)
        start_words(self.model, self.tokenizer)
        start_attention(self.model)
        rng = np.random.default_rng((settings.seed, 1))
        cells, colours = random_grids(rng, 400)
        start_patches(self.model, self.bank.render_cells(cells, colours, random_styles(rng, 400), rng))

    def steps(self) -> Iterator[dict[str, float]]:
        """Teach the tower, yielding the loss and the shares of labels named right of each step."""
        settings = self.settings
        tower = {n: p for n, p in self.model.named_parameters() if "vision_model" in n or "connector" in n}
        decays = {name: p.ndim > 1 and "embed" not in name for name, p in tower.items()}
        groups = [
            {"params": [p for name, p in tower.items() if decays[name] == yes], "weight_decay": 0.05 * yes}
            for yes in (True, False)
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
        for step in range(settings.steps):
            rise, fall = min(1.0, (step + 1) / 50), min(1.0, (settings.steps - step) / (0.4 * settings.steps))
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * rise * fall
            loss, right = self.loss(np.random.default_rng((settings.seed, 2, step)))
            self.model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            yield {"loss": loss.item(), **right}

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the cell loss on grids of random sprites (60 %) and scenes (40 %)."""
        n = self.settings.batch
        cells, colours = random_grids(rng, n)
        scenes = [sample_scene(rng) for _ in range(2 * n // 5)]
        cells[: len(scenes)] = [scene.cells for scene in scenes]
        styles = random_styles(rng, n)
        styles[: len(scenes)] = styles[: len(scenes), :1]  # a scene has one style, a grid any in each cell
        tokens = image_tokens(self.model, pixels(self.bank.render_cells(cells, colours, styles, rng)))
        return cell_loss(self.model, tokens, cell_targets(cells, colours), self.words)

    def write(self, folder: Path) -> None:
        """Write model, tokenizer and processor."""
        self.model.generation_config.update(max_new_tokens=64, do_sample=False)
        self.model.save_pretrained(folder)
        build_processor(self.tokenizer).save_pretrained(folder)


def random_grids(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cells (n, 9) and colours (n,) of n grids; 60 % are full, the rest have empty cells at random."""
    cells = rng.integers(len(CONCEPTS), size=(n, 9))
    empty = (rng.random((n, 9)) < rng.uniform(0.2, 0.9, size=(n, 1))) & (rng.random((n, 1)) > 0.6)
    return np.where(empty, EMPTY, cells), rng.integers(len(COLOUR_NAMES), size=n)


def random_styles(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a drawing style for each cell of n grids, (n, 9)."""
    return rng.integers(len(TRAIN_STYLES), size=(n, 9))


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, teach and write as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True, help="folder of oasis_<name>.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder to write model, tokenizer and processor to")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    start = Start(
        Settings(**{name: getattr(options, name) for name in asdict(Settings())}), read_prompts(options.prompts)
    )
    began = time.process_time()
    for step, numbers in enumerate(start.steps(), 1):
        if step % 50 == 0:
            shown = {name: round(x, 4) for name, x in numbers.items()}
            log.info("step %d, %.0f CPU seconds: %s", step, time.process_time() - began, json.dumps(shown))
    start.write(options.out)


if __name__ == "__main__":
    main()
