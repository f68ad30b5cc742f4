"""Measures the tiny chat model on held-out scenes, each grounded number beside the same with the pictures shuffled.

    python -m potstill.models.tiny.eval_chat --model models/tiny/chat --prompts pipelines/synthesizers/prompts

The model is used as any other: loaded by transformers, asked through its processor, greedy except for hooked texts.
Shuffled means that each prompt keeps its text and truth and is shown the next scene's picture.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from potstill.models.tiny.chat_judges import PROMPT_NAMES, Prompt, Turn, judge_turn, read_prompts
from potstill.models.tiny.chat_questions import draw, holds, questions, usual_kinds
from potstill.models.tiny.chat_reading import is_caption, named_right, read_instruction
from potstill.models.tiny.chat_tokens import load_processor
from potstill.models.tiny.scenes import HELD_OUT_STYLE, TRAIN_STYLES, Scene, SpriteBank, sample_scene

log = logging.getLogger(__name__)
EVAL_SEED: Final = 20_000_003
HOOK: Final = "<|im_start|>user\n<image>"
HOOK_TEMPERATURE: Final = 1.0
COOLER: Final = 0.7  # hooked texts are measured at this temperature as well


class ChatModel:
    """A chat model folder, loaded without a network, that replies to batches of prompts."""

    def __init__(self, folder: Path, batch: int = 64) -> None:
        """Load float32 weights and the processor."""
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()
        self.processor, self.batch = load_processor(folder), batch

    def generate(
        self, prompts: Sequence[str], images: Sequence[np.ndarray] | None, *, temperature: float = 0.0
    ) -> list[str]:
        """Return the texts that follow raw prompts, up to the end token; one uint8 picture each, or none at all."""
        replies: list[str] = []
        for start in range(0, len(prompts), self.batch):
            part = slice(start, start + self.batch)
            pictures = None if images is None else [[Image.fromarray(image)] for image in images[part]]
            inputs = self.processor(text=list(prompts[part]), images=pictures, padding=True, return_tensors="pt")
            sampling = (
                {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
            )
            with torch.inference_mode():
                tokens = self.model.generate(**inputs, max_new_tokens=48, **sampling)
            replies += self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return replies

    def reply(self, turns: Sequence[Turn], images: Sequence[np.ndarray]) -> list[str]:
        """Return the greedy replies to turns; text-only turns are asked without their picture."""
        replies = [""] * len(turns)
        for seeing in (True, False):
            chosen = [i for i, turn in enumerate(turns) if turn.image == seeing]
            prompts = [self.prompt(turns[i]) for i in chosen]
            texts = self.generate(prompts, [images[i] for i in chosen] if seeing else None)
            for i, text in zip(chosen, texts, strict=True):
                replies[i] = text
        return replies

    def prompt(self, turn: Turn) -> str:
        """Return the turn's prompt through the chat template."""
        content = [{"type": "image"}] * turn.image + [{"type": "text", "text": turn.text}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


@dataclass(frozen=True)
class Exam:
    """Held-out scenes with their pictures; every test is asked about each."""

    scenes: list[Scene]
    images: list[np.ndarray]

    def shuffled(self) -> list[np.ndarray]:
        """Return the pictures moved on by one scene."""
        return self.images[1:] + self.images[:1]


def draw_exam(styles: Sequence[str], n: int, *, pixels: int = 96, seed: int = EVAL_SEED) -> Exam:
    """Return n scenes drawn in the styles with sprite placements and jitter that training did not use."""
    rng = np.random.default_rng((seed, 0))
    scenes = [sample_scene(rng) for _ in range(n)]
    bank = SpriteBank(pixels, styles, seed=seed)
    return Exam(scenes, list(bank.render(scenes, rng)))


def exact(model: ChatModel, turns: Sequence[Turn], images: Sequence[np.ndarray]) -> float:
    """Return the share of replies that equal the true one in every character."""
    replies = model.reply(turns, images)
    return float(np.mean([reply == turn.reply for reply, turn in zip(replies, turns, strict=True)]))


def captions(model: ChatModel, exam: Exam, images: Sequence[np.ndarray]) -> dict[str, float]:
    """Return caption_exact, caption_objects (share of the scenes' objects that are named) and caption_precision."""
    rng = np.random.default_rng((EVAL_SEED, 1))
    turns = [Turn("answer", q.text, q.answer) for q in (draw(scene, "describe", rng) for scene in exam.scenes)]
    replies = model.reply(turns, images)
    right, wanted, named = np.sum([named_right(s, r) for s, r in zip(exam.scenes, replies, strict=True)], axis=0)
    same = [reply == turn.reply for reply, turn in zip(replies, turns, strict=True)]
    return {
        "caption_exact": float(np.mean(same)),
        "caption_objects": right / wanted,
        "caption_precision": right / max(named, 1),
    }


def answer_turns(exam: Exam) -> list[Turn]:
    """Return one question per scene, of any kind; each thing named is absent with probability 0.2."""
    rng = np.random.default_rng((EVAL_SEED, 2))
    return [Turn(q.kind, q.text, q.answer) for scene in exam.scenes for q in questions(scene, rng, 1, absent=0.2)]


def judge_turns(exam: Exam, name: str, prompts: Mapping[str, Prompt]) -> list[Turn]:
    """Return one exchange with the named prompt per scene."""
    rng = np.random.default_rng((EVAL_SEED, 3, PROMPT_NAMES.index(name)))
    return [judge_turn(name, scene, prompts, rng) for scene in exam.scenes]


def hooks(
    model: ChatModel, exam: Exam, *, temperature: float = HOOK_TEMPERATURE, seed: int = EVAL_SEED
) -> dict[str, Any]:
    """Return shares over the texts the model says after the open prompt, sampled at the temperature.

    well_formed: the text is an instruction of a known form. about_picture: of the well-formed ones that name something,
    all that is named is in the picture. The shuffled share reads the same texts against the next scene.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        texts = model.generate([HOOK] * len(exam.scenes), exam.images, temperature=temperature)
    read = [read_instruction(text) for text in texts]
    naming = [(i, question) for i, question in enumerate(read) if question and question.grants]

    def about(scenes: Sequence[Scene]) -> float:
        return float(np.mean([all(holds(scenes[i], thing) for thing in question.grants) for i, question in naming]))

    return {
        "hooks_well_formed": float(np.mean([question is not None for question in read])),
        "hooks_captions": float(np.mean([is_caption(text) for text in texts])),
        "hooks_naming": len(naming) / len(texts),
        "hooks_about_picture": {"right": about(exam.scenes), "shuffled": about(exam.scenes[1:] + exam.scenes[:1])},
        "hooks_distinct": len(set(texts)) / len(texts),
        "hooks_examples": texts[:12],
    }


def measure(model: ChatModel, exam: Exam, prompts: Mapping[str, Prompt]) -> dict[str, Any]:
    """Return every number of the card for one exam: shares, or {right, shuffled} where the picture must matter."""

    def both(turns: Sequence[Turn]) -> dict[str, float]:
        return {"right": exact(model, turns, exam.images), "shuffled": exact(model, turns, exam.shuffled())}

    right, shuffled = captions(model, exam, exam.images), captions(model, exam, exam.shuffled())
    result: dict[str, Any] = {key: {"right": right[key], "shuffled": shuffled[key]} for key in right}
    result["answers"] = both(answer_turns(exam))
    for name in PROMPT_NAMES:
        turns = judge_turns(exam, name, prompts)
        result[name] = both(turns) if turns[0].image else exact(model, turns, exam.images)
    result["hooks_cooler"] = hooks(model, exam, temperature=COOLER)
    return rounded(result | hooks(model, exam))


def by_kind(model: ChatModel, exam: Exam) -> dict[str, float]:
    """Return the share of exact answers per kind of question, one of each kind per scene it suits, all about present
    things.
    """
    rng = np.random.default_rng((EVAL_SEED, 4))
    asked = [(i, draw(scene, kind, rng)) for i, scene in enumerate(exam.scenes) for kind in usual_kinds(scene)[0]]
    replies = model.reply([Turn(q.kind, q.text, q.answer) for _, q in asked], [exam.images[i] for i, _ in asked])
    right: dict[str, list[bool]] = {}
    for (_, question), reply in zip(asked, replies, strict=True):
        right.setdefault(question.kind, []).append(reply == question.answer)
    return {kind: float(np.mean(hits)) for kind, hits in right.items()}


def rounded(value: Any) -> Any:
    """Return the value with every float in it rounded to three digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(float(value), 3) if isinstance(value, float) else value


def main() -> None:
    """Measure as the command line says and write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--out", type=Path, help="a JSON file; without it the numbers are only logged")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    model, prompts = ChatModel(options.model), read_prompts(options.prompts)
    numbers = {
        "scenes": options.scenes,
        "prompts_sha256": {name: prompt.sha256 for name, prompt in prompts.items()},
        "training_styles": measure(model, draw_exam(TRAIN_STYLES, options.scenes), prompts),
        "training_styles_by_kind": rounded(by_kind(model, draw_exam(TRAIN_STYLES, options.scenes // 4))),
        "training_styles_288_pixels": rounded(captions_at(model, 288, options.scenes)),
        "held_out_style": measure(model, draw_exam((HELD_OUT_STYLE,), options.scenes), prompts),
    }
    text = json.dumps(numbers, indent=2) + "\n"
    log.info(text)
    if options.out:
        options.out.write_text(text)


def captions_at(model: ChatModel, pixels: int, n: int) -> dict[str, float]:
    """Return the caption numbers on scenes drawn larger, which the processor brings down to 96 pixels."""
    exam = draw_exam(TRAIN_STYLES, n, pixels=pixels)
    return captions(model, exam, exam.images)


if __name__ == "__main__":
    main()
