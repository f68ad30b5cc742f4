"""Draws the sprite sheets of this folder from the SVG icon sets of npm (resvg, 96 px, row-major in the order of
scenes.CONCEPTS).

npm install @iconify-json/noto @iconify-json/noto-v1 @iconify-json/twemoji
npm install @iconify-json/fluent-emoji-flat @iconify-json/fluent-emoji
python -m potstill.models.tiny.sprites.build_sheets node_modules/@iconify-json
"""

import argparse
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import resvg_py
from PIL import Image

from potstill.models.tiny.scenes import CONCEPTS, SHEET_COLUMNS, SPRITE, SPRITES

log = logging.getLogger(__name__)
SETS: Final = {
    "noto": "noto", "noto-v1": "noto-v1", "twemoji": "twemoji", "fluent-flat": "fluent-emoji-flat",
    "fluent": "fluent-emoji",
}  # fmt: skip
CODES: Final = (  # noqa: SIM905 (one screen instead of 105 lines)
    "1f436 1f431 1f407 1f416 1f404 1f40e 1f405 1f418 1f412 1f43c 1f428 1f43b 1f98a 1f981 1f438 1f414 1f427 1f989 "
    "1f986 1f985 1f422 1f40d 1f42c 1f988 1f433 1f419 1f980 1f41d 1f98b 1f40c "
    "1f34e 1f350 1f34c 1f34b 1f351 1f349 1f353 1f34d 1f346 1f951 1f345 1f955 1f344 1f952 1f950 1f354 1f355 "
    "1f32e 1f954 1f95a 1f370 1f369 1f36a "
    "1f528 1f527 1f4f7 1f511 1f512 1f4cf 1f526 1f56f 1f4a1 270f 1f52d 1f52c 2602 1f58c "
    "1f697 1f695 1f68c 1f691 1f69a 1f69c 1f6b2 1f3cd 1f682 2708 1f681 1f680 26f5 "
    "1f455 1f457 1f452 1f45f 1f462 1f454 1f458 1f451 "
    "1f333 1f335 1f339 1f337 1f33b 1f334 "
    "1f3c8 1f3c0 26be 1f3d0 26bd 1f3be "
    "1f3b8 1f3bb 1f3ba 1f941 1f3b7"
).split()


def icon_names(folder: Path) -> dict[str, set[str]]:
    """Return Unicode code point (lower-case hex) -> the names it has in the icon sets that list their characters."""
    names: dict[str, set[str]] = {code: set() for code in CODES}
    for listing in sorted(folder.glob("*/chars.json")):
        chars = json.loads(listing.read_text())
        for code in CODES:
            names[code] |= {chars[key] for key in (code, f"{code}-fe0f") if key in chars}
    return names


def svg(icons: Mapping[str, Any], names: set[str]) -> str:
    """Return the SVG text of the first of the names that the icon set holds."""
    name = next(name for name in sorted(names) if name in icons["icons"] or name in icons.get("aliases", {}))
    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width, height = (icon.get(key, icons.get(key, 16)) for key in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{box}">{icon["body"]}</svg>'


def draw(text: str) -> Image.Image:
    """Return the SVG drawn at 96 x 96 pixels, RGBA."""
    picture = Image.open(
        io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text, width=SPRITE, height=SPRITE)))
    ).convert("RGBA")
    return picture if picture.size == (SPRITE, SPRITE) else picture.resize((SPRITE, SPRITE), Image.Resampling.LANCZOS)


def main() -> None:
    """Write one PNG sheet per drawing style next to this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder that holds the icon sets: node_modules/@iconify-json")
    folder = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = icon_names(folder)
    for style, directory in SETS.items():
        icons = json.loads((folder / directory / "icons.json").read_text())
        sheet = Image.new("RGBA", (SHEET_COLUMNS * SPRITE, -(-len(CONCEPTS) // SHEET_COLUMNS) * SPRITE))
        for i, code in enumerate(CODES):
            sheet.paste(draw(svg(icons, names[code])), (i % SHEET_COLUMNS * SPRITE, i // SHEET_COLUMNS * SPRITE))
        sheet.save(SPRITES / f"{style}.png", optimize=True)
        log.info("%s: %d sprites, %d bytes", style, len(CODES), (SPRITES / f"{style}.png").stat().st_size)


if __name__ == "__main__":
    main()
