"""How far the embedded chat model can be trusted as a judge: planted instructions, captions and answers about scenes.

    python -m benchmarks.judges [--scenes 96] [--work DIR]

Every scene, drawn as training did not draw it, gives one instruction for each judge of Oasis with the score that
follows from the scene, one caption (every second with a planted sentence about an absent thing), and one true answer
beside the answer to the same question about another scene. Three runs judge them; the tables are those of ``potstill
calibrate``. The truth travels in ``meta``, which no stage reads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import print_table
from potstill.models.tiny.chat_judges import Prompt, judge_turn
from potstill.models.tiny.chat_questions import draw
from potstill.models.tiny.scenes import CONCEPTS, Scene, SpriteBank, article, sample_scene
from potstill.pipelines.plan import Plan, load_plan, shipped_plans
from potstill.pipelines.report.calibration import BIAS, HEAD, calibrate
from potstill.pipelines.runner import run_plan
from potstill.pipelines.synthesizers.oasis import JUDGES

SEED = 30_000_001
CHAT = {"kind": "transformers", "model": "tiny"}
BARE = dict.fromkeys(JUDGES, Prompt("", "", ""))


def instructions(scenes: Sequence[Scene], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """For each judge an instruction, and the score that it should get."""
    for place, scene in enumerate(scenes):
        for judge in JUDGES:
            turn = judge_turn(judge, scene, BARE, rng)
            yield {"image": f"{place}.png", "instruction": turn.text, judge: int(turn.reply.removeprefix("Score: "))}


def captions(scenes: Sequence[Scene], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """True captions; every second with a sentence about a thing that is not there."""
    for place, scene in enumerate(scenes):
        absent = str(rng.choice([word for word in CONCEPTS if word not in scene.objects]))
        more = f" There is {article(absent)}." if place % 2 else ""
        yield {"image": f"{place}.png", "caption": scene.caption() + more, "planted": place % 2}


def answers(scenes: Sequence[Scene], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """A question with its true answer and that of the next scene, which of them is ``a`` in turn."""
    for place, (scene, other) in enumerate(zip(scenes, [*scenes[1:], scenes[0]], strict=True)):
        question, wrong = draw(scene, "list", rng), draw(other, "list", rng)
        a, b = (question.answer, wrong.answer) if place % 2 else (wrong.answer, question.answer)
        yield {
            "image": f"{place}.png",
            "instruction": question.text,
            "response": a,
            "caption": b,
            "better": "a" if place % 2 else "b",
        }


def judge(work: Path, name: str, records: Iterator[dict[str, Any]], stages: list[dict[str, Any]]) -> str:
    """Run the stages over the records; the run's directory."""
    lines = "\n".join(json.dumps(record) for record in records)
    (work / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    tree = {"source": {"kind": "jsonl", "path": str(work / f"{name}.jsonl")}, "stages": stages}
    run_plan(Plan.model_validate(tree), str(work / name))
    return str(work / name)


def main() -> None:
    """Write the rows, judge them, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    scenes = [sample_scene(rng) for _ in range(options.scenes)]
    for place, pixels in enumerate(SpriteBank(96, seed=SEED).render(scenes, rng)):
        Image.fromarray(pixels).save(work / f"{place}.png")
    oasis = {"kind": "oasis_judge", "engine": CHAT, "max_tokens": 8}
    modes = [{**oasis, "name": mode, "mode": mode} for mode in ("text", "expected")]
    judged = judge(work, "instructions", instructions(scenes, rng), modes)
    checks = [stage.model_dump() for stage in load_plan(shipped_plans()["verified-caption-tiny"]).stages[1:]]
    verified = judge(work, "captions", captions(scenes, rng), checks)
    pairs = judge(work, "answers", answers(scenes, rng), [{"kind": "pair_judge", "engine": CHAT, "b": "caption"}])
    compared = [(judged, f"{mode}_{name}", f"meta_{name}") for mode in ("text", "expected") for name in JUDGES]
    compared += [(judged, f"expected_{name}_expected", f"meta_{name}") for name in JUDGES]
    compared += [(judged, f"text_{name} < 5", f"meta_{name} < 5") for name in JUDGES]
    compared += [(verified, "verified_caption_dropped > 0", "meta_planted == 1")]
    compared += [(pairs, "pair_judge_winner", "meta_better")]
    tables = [calibrate(*each) for each in compared]
    print_table(HEAD, [row for first, *_ in tables for row in first[1:]])
    print_table(BIAS, [row for _, *others in tables for table in others for row in table[1:]])


if __name__ == "__main__":
    main()
