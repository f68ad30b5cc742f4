"""Training rows of the tiny chat model: a picture, and conversations about it that know nothing of each other.

    python -m potstill.models.tiny.chat_rows --prompts pipelines/synthesizers/prompts --out ROWS

Parquet for the trainer `vlm` (`branches`): ROWS/first in the order in which they are learnt, `seeing` (captions, lists,
cells, counts), `mixed` (all tasks), `judging` (all tasks, half of them grounded judges); ROWS/second, `more` of the
last. Turns without a picture stand in rows of their own.
"""

import argparse
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from potstill.models.tiny.chat_judges import Prompt, Turn, caption_text, garble, judge_turn, read_prompts, slip
from potstill.models.tiny.chat_questions import coins, draw, questions, usual_kinds
from potstill.models.tiny.scenes import TRAIN_STYLES, Scene, SpriteBank, sample_scene

USER_WEIGHT: Final = 0.3  # weight of a token of a hooked user turn, where a token of a reply has 1
SCORE_WEIGHT: Final = 3.0  # weight of a token of a judge's reply
TURNS: Final = 8  # turns of a row
VARIANTS: Final = 48  # placements of each sprite; with 6 the tower learns them by heart (83 % of cells on new ones)
BLOCK: Final = 256  # rows of a row group
SEEING: Final = ("describe", "caption", "list", "at", "at", "at", "where", "count", "count", "colour")


MIX: Final = {
    "answer": 0.38, "hook": 0.14, "extract": 0.10, "solvability": 0.14, "clarity": 0.06, "hallucination": 0.12,
    "nonsense": 0.06,
}  # fmt: skip
JUDGING_MIX: Final = {
    "answer": 0.26, "hook": 0.11, "extract": 0.05, "solvability": 0.24, "clarity": 0.04, "hallucination": 0.24,
    "nonsense": 0.06,
}  # fmt: skip


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


def conversation(turn: Turn) -> list[dict[str, Any]]:
    """Return the turn as messages; a hooked user turn is learnt as well, a judge's score counts more."""
    user: dict[str, Any] = {"role": "user", "content": turn.text}
    reply: dict[str, Any] = {"role": "assistant", "content": turn.reply}
    if turn.hooked:
        user["weight"] = USER_WEIGHT
    if turn.reply.startswith("Score: "):
        reply["weight"] = SCORE_WEIGHT
    return [user, reply]


def rows_of(scenes: Sequence[Scene], pictures: np.ndarray, turns: Sequence[Sequence[Turn]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each picture, and rows of the turns without one."""
    blind: list[Turn] = []
    for scene, picture, told in zip(scenes, pictures, turns, strict=True):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG", compress_level=1)
        yield {"image": file.getvalue(), "turns": [turn for turn in told if turn.image], "caption": scene.caption()}
        blind += [turn for turn in told if not turn.image]
    for start in range(0, len(blind), TURNS):
        yield {"image": None, "turns": blind[start : start + TURNS], "caption": None}


def write_rows(folder: Path, stage: str, scenes: int, prompts: Mapping[str, Prompt], seed: int) -> Path:
    """Write one stage as a Parquet file of rows about so many scenes, mixed within row groups; return its path."""
    rng = np.random.default_rng((seed, STAGES.index(stage)))
    bank = SpriteBank(styles=TRAIN_STYLES, variants=VARIANTS, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{STAGES.index(stage)}-{stage}.parquet"
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for start in range(0, scenes, BLOCK):
            drawn = [sample_scene(rng) for _ in range(min(BLOCK, scenes - start))]
            turns = [
                seeing_turns(scene, rng, TURNS)
                if stage == "seeing"
                else mixed_turns(scene, prompts, rng, TURNS, judging=stage in ("judging", "more"))
                for scene in drawn
            ]
            rows = list(rows_of(drawn, bank.render(drawn, rng), turns))
            for number, row in enumerate(rows):
                row["sample_id"] = f"{stage}-{start}-{number}"
                row["conversations"] = json.dumps([conversation(turn) for turn in row.pop("turns")])
            writer.write_table(pa.Table.from_pylist([rows[i] for i in rng.permutation(len(rows))], SCHEMA))
    return path


STAGES: Final = ("seeing", "mixed", "judging", "more")
SCHEMA: Final = pa.schema({
    "sample_id": pa.string(), "image": pa.binary(), "caption": pa.string(), "conversations": pa.string()
})  # fmt: skip


def main() -> None:
    """Write the rows of all stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, required=True, help="folder of oasis_<name>.txt")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--scenes", type=int, nargs=len(STAGES), default=(3072, 7936, 26_624, 11_264), help="of each stage"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    prompts = read_prompts(options.prompts)
    for stage, scenes in zip(STAGES, options.scenes, strict=True):
        folder = options.out / ("second" if stage == "more" else "first")
        write_rows(folder, stage, scenes, prompts, options.seed)


if __name__ == "__main__":
    main()
