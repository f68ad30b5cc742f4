"""Writes captions.jsonl: what the demo pictures show, in words, with the flaws that captions from the web have.

    python samples/write_captions.py

Of eight captions one is another picture's, one is German, and one is a file name.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN: Final = "Auf diesem kleinen Bild sind ein paar gezeichnete Dinge zu sehen, sonst nichts."


def main() -> None:
    """One record per picture, in their order."""
    lines = (FOLDER / "scene-graphs.jsonl").read_text(encoding="utf-8").splitlines()
    scenes = [json.loads(line) for line in lines]
    texts = [caption(scenes, number) for number in range(len(scenes))]
    records = [{"image": scene["image"], "caption": text} for scene, text in zip(scenes, texts, strict=True)]
    (FOLDER / "captions.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def caption(scenes: list[dict[str, Any]], number: int) -> str:
    """The caption of a scene, true or flawed by its number."""
    match number % 8:
        case 3:
            return described(scenes[(number + len(scenes) // 2) % len(scenes)])
        case 4:
            return GERMAN
        case 6:
            return f"IMG_{number:04d}.jpg"
    return described(scenes[number])


def described(scene: dict[str, Any]) -> str:
    """Such as ``A picture of one cow and four baseballs.``"""
    things = Counter(thing["name"] for thing in scene["objects"])
    parts = [f"{NUMBERS[count]} {name}{'s' if count > 1 else ''}" for name, count in things.items()]
    return f"A picture of {' and '.join(parts)}."


if __name__ == "__main__":
    main()
