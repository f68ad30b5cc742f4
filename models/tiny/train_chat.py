"""Trains the tiny chat model on emoji scenes and writes it as a loadable folder.

    python -m potstill.models.tiny.train_chat --prompts pipelines/synthesizers/prompts --out models/tiny/chat \\
        --work CHECKPOINTS

Four stages: `tower` (image tokens learn to lie near the words of their cells, then rest), `seeing` (captions, lists,
cells, counts), `mixed` (all tasks), `judging` (all tasks, half of them grounded judges). A run killed at any point goes
on from its last checkpoint when started again with the same --work.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

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
from potstill.models.tiny.chat_rows import Packer, Rows, mixed_turns, seeing_turns
from potstill.models.tiny.chat_tokens import build_processor, build_tokenizer
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, EMPTY, TRAIN_STYLES, SpriteBank, sample_scene

log = logging.getLogger(__name__)
SAVE_EVERY: Final = 250  # steps
IMAGE_START: Final = 3  # the prefix opens with user mark, image mark, global mark


@dataclass(frozen=True)
class Settings:
    """All that decides the result, besides the prompts: sizes, steps, batches, rates, seed."""

    seed: int = 0
    width: int = 192
    layers: int = 4
    tower_layers: int = 3
    vocabulary_rows: int = 3000
    variants: int = 48  # placements of each sprite; with 6 the tower learns them by heart (83 % of cells on new ones)
    tower_steps: int = 2400
    tower_batch: int = 40
    seeing_steps: int = 500
    seeing_rows: int = 20
    seeing_length: int = 64
    mixed_steps: int = 1100
    judging_steps: int = 3600
    mixed_rows: int = 12
    mixed_length: int = 128
    rate: float = 1.2e-3  # peak learning rate of the language model (AdamW)
    words_factor: float = 0.3  # on `rate` for the word vectors, which the image tokens are aligned with
    tower_rate: float = 1.2e-3  # of the tower in its own stage
    decay: float = 0.35  # last share of the steps over which the rate falls to zero


class Trainer:
    """Holds model, data and optimiser of one run; `run` carries it from wherever it stands to the end."""

    def __init__(self, settings: Settings, prompts: dict[str, Prompt], work: Path) -> None:
        """Build tokenizer and model from the seed, or read them back from the last checkpoint in `work`."""
        self.settings, self.prompts, self.work = settings, prompts, work
        torch.manual_seed(settings.seed)
        self.tokenizer = build_tokenizer(prompts, settings.seed, settings.vocabulary_rows)
        self.model = build_model(
            self.tokenizer, width=settings.width, layers=settings.layers, tower_layers=settings.tower_layers
        )
        self.bank = SpriteBank(styles=TRAIN_STYLES, variants=settings.variants, seed=settings.seed)
        self.words = cell_words(self.tokenizer)
        self.packer = Packer(self.tokenizer.backend_tokenizer, self.tokenizer.pad_token_id)
        self.stages = {"tower": settings.tower_steps, "seeing": settings.seeing_steps, "mixed": settings.mixed_steps}
        self.stages["judging"] = settings.judging_steps
        self.step, self.seconds = 0, 0.0
        start_words(self.model, self.tokenizer)
        start_attention(self.model)
        self._start_patches()
        self.optimizer = self._optimizer()
        self._resume()

    def _start_patches(self) -> None:
        rng = np.random.default_rng((self.settings.seed, 1))
        cells, colours = random_grids(rng, 400)
        start_patches(self.model, self.bank.render_cells(cells, colours, random_styles(rng, 400), rng))

    def _optimizer(self) -> torch.optim.AdamW:
        groups: dict[tuple[str, bool], list[Tensor]] = {}
        for name, value in self.model.named_parameters():
            tower = "vision_model" in name or "connector" in name
            part = "tower" if tower else "words" if "embed" in name else "language"
            groups.setdefault((part, value.ndim > 1 and "embed" not in name), []).append(value)
        parameters = [{"params": p, "part": k[0], "weight_decay": 0.05 * k[1]} for k, p in groups.items()]
        return torch.optim.AdamW(parameters, lr=self.settings.rate, betas=(0.9, 0.98))

    def _resume(self) -> None:
        path = self.work / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("resumed at step %d after %.0f CPU seconds", self.step, self.seconds)

    def save(self) -> None:
        """Write the checkpoint aside and rename it."""
        self.work.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.work / "checkpoint.tmp")
        (self.work / "checkpoint.tmp").replace(self.work / "checkpoint.pt")

    def stage(self, step: int) -> tuple[str, int]:
        """Return the stage of a step and the step's number in it."""
        for name, steps in self.stages.items():
            if step < steps:
                return name, step
            step -= steps
        return "done", 0

    def set_rates(self) -> None:
        """Set the rates of the step: a short rise in each stage, constant, a linear fall at the end."""
        stage, step = self.stage(self.step)
        settings = self.settings
        rise = min(1.0, (step + 1) / 50)
        if stage == "tower":
            fall = min(1.0, (self.stages["tower"] - step) / (0.4 * self.stages["tower"]))
            rate = settings.tower_rate * rise * fall
            rates = {"tower": rate, "words": 0.0, "language": 0.0}
        else:
            total = sum(self.stages.values()) - settings.tower_steps
            left = total - (self.step - settings.tower_steps)
            rate = settings.rate * rise * min(1.0, left / (settings.decay * total))
            rates = {"tower": 0.0, "words": rate * settings.words_factor, "language": rate}
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["part"]]

    def losses(self) -> Iterator[dict[str, float]]:
        """Take steps until the end, yielding the numbers of each."""
        while (stage := self.stage(self.step)[0]) != "done":
            started = time.process_time()
            rng = np.random.default_rng((self.settings.seed, 2, self.step))
            self.set_rates()
            loss, numbers = self.tower_step(rng) if stage == "tower" else self.chat_step(stage, rng)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            self.seconds += time.process_time() - started
            yield {"step": self.step, "seconds": self.seconds, **numbers}
            if self.step % SAVE_EVERY == 0 or self.step == self.settings.tower_steps:
                self.save()

    def tower_step(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the cell loss on grids of random sprites (60 %) and scenes (40 %)."""
        n = self.settings.tower_batch
        cells, colours = random_grids(rng, n)
        scenes = [sample_scene(rng) for _ in range(2 * n // 5)]
        cells[: len(scenes)] = [scene.cells for scene in scenes]
        styles = random_styles(rng, n)
        styles[: len(scenes)] = styles[: len(scenes), :1]  # a scene has one style, a grid any in each cell
        tokens = image_tokens(self.model, pixels(self.bank.render_cells(cells, colours, styles, rng)))
        loss, right = cell_loss(self.model, tokens, cell_targets(cells, colours), self.words)
        return loss, {"cell_loss": loss.item(), **right}

    def chat_step(self, stage: str, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted token loss of packed rows; the tower no longer learns."""
        settings, seeing = self.settings, stage == "seeing"
        scenes = [sample_scene(rng) for _ in range(settings.seeing_rows if seeing else settings.mixed_rows)]
        turns = [
            seeing_turns(s, rng, 4) if seeing else mixed_turns(s, self.prompts, rng, 9, judging=stage == "judging")
            for s in scenes
        ]
        rows = self.packer.pack(turns, settings.seeing_length if seeing else settings.mixed_length)
        with torch.no_grad():
            tokens = image_tokens(self.model, pixels(self.bank.render(scenes, rng)))
        loss = chat_loss(self.model, rows, tokens)
        return loss, {"loss": loss.item()}

    def run(self, log_every: int = 50) -> None:
        """Train to the end, logging mean losses and writing checkpoints."""
        recent: list[dict[str, float]] = []
        for numbers in self.losses():
            recent.append(numbers)
            if len(recent) == log_every:
                keys = [k for k in numbers if k not in ("step", "seconds")]
                means = {k: round(float(np.mean([r[k] for r in recent if k in r])), 4) for k in keys}
                log.info("%s %s", self.stage(self.step - 1)[0], json.dumps({**numbers, **means}))
                recent = []
        self.save()


def random_grids(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cells (n, 9) and colours (n,) of n grids; 60 % are full, the rest have empty cells at random."""
    cells = rng.integers(len(CONCEPTS), size=(n, 9))
    empty = (rng.random((n, 9)) < rng.uniform(0.2, 0.9, size=(n, 1))) & (rng.random((n, 1)) > 0.6)
    return np.where(empty, EMPTY, cells), rng.integers(len(COLOUR_NAMES), size=n)


def random_styles(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a drawing style for each cell of n grids, (n, 9)."""
    return rng.integers(len(TRAIN_STYLES), size=(n, 9))


def chat_loss(model: Idefics3ForConditionalGeneration, rows: Rows, tokens: Tensor) -> Tensor:
    """Return the mean loss in nats, weighted, of the learnt tokens of packed rows given their image tokens (n, 9,
    width).
    """
    logits = model.lm_head(row_states(model, rows, tokens).flatten(0, 1)[rows.where])
    losses = functional.cross_entropy(logits, rows.targets, reduction="none")
    return (losses * rows.weights).sum() / rows.weights.sum()


def row_states(model: Idefics3ForConditionalGeneration, rows: Rows, tokens: Tensor) -> Tensor:
    """Return the last hidden states (n, length, width) of packed rows with image tokens (n, 9, width) put in place."""
    vectors = model.get_input_embeddings()(rows.tokens)
    vectors = torch.cat([vectors[:, :IMAGE_START], tokens, vectors[:, IMAGE_START + tokens.shape[1] :]], dim=1)
    return model.model.text_model(
        inputs_embeds=vectors, attention_mask=rows.mask, position_ids=rows.positions, use_cache=False
    ).last_hidden_state


def export(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (float16 safetensors, word vectors untied, as vLLM reads them), tokenizer and processor to the
    folder.
    """
    copy = Idefics3ForConditionalGeneration(untied(model.config))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    state["lm_head.weight"] = state["model.text_model.embed_tokens.weight"].clone()
    copy.load_state_dict(state)
    copy.generation_config.update(max_new_tokens=64, do_sample=False)
    copy.half().save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)


def untied(config):  # noqa: ANN001, ANN201
    """Return a copy of the configuration whose output matrix is not the word vectors."""
    copy = type(config).from_dict(config.to_dict())
    copy.tie_word_embeddings = copy.text_config.tie_word_embeddings = False
    return copy


def settings_from(arguments: Sequence[str] | None = None) -> tuple[Settings, argparse.Namespace]:
    """Return the settings and the other options of a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True, help="folder of oasis_<name>.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder to write model, tokenizer and processor to")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoints; a run goes on from the one it finds"
    )
    parser.add_argument("--export-only", action="store_true", help="write what the last checkpoint holds and stop")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args(arguments)
    return Settings(**{name: getattr(options, name) for name in asdict(Settings())}), options


def main() -> None:
    """Train (or only export) as the command line says."""
    settings, options = settings_from()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    trainer = Trainer(settings, read_prompts(options.prompts), options.work)
    if not options.export_only:
        trainer.run()
    export(trainer.model, trainer.tokenizer, options.out)
    record = {"steps": trainer.step, "cpu_seconds": round(trainer.seconds), **asdict(settings)}
    (options.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    log.info("wrote %s after %d steps and %.0f CPU seconds", options.out, trainer.step, trainer.seconds)


if __name__ == "__main__":
    main()
