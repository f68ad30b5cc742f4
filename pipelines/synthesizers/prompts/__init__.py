"""Prompts: one file each, with a version that is part of what a stage's result depends on.

A file is ``version: N``, a line ``---``, and the text, in which ``{name}`` (or, for
the columns of a group's members, ``{group.name}``) is a place to be filled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import xxhash

FOLDER = Path(__file__).parent
_PLACE = re.compile(r"\{([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?)\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text and where it comes from."""

    name: str
    version: int
    text: str

    @property
    def digest(self) -> str:
        """xxh3-64 of the text, hex."""
        return xxhash.xxh3_64_hexdigest(self.text.encode())

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places to be filled, each once, in order."""
        return tuple(dict.fromkeys(_PLACE.findall(self.text)))

    def identity(self) -> Mapping[str, str | int]:
        """What a reply to this prompt depends on."""
        return {"name": self.name, "version": self.version, "digest": self.digest}

    def fill(self, **values: str) -> str:
        """The text with every ``{name}`` replaced, once: braces in a value mean nothing. Raises ``KeyError``.

        >>> Prompt("p", 1, "Rate: {text}").fill(text="{text} {0}")
        'Rate: {text} {0}'
        """
        unused = values.keys() - set(self.places)
        if unused:
            raise KeyError(f"prompt {self.name!r} has no place for {', '.join(sorted(unused))}")
        return _PLACE.sub(lambda match: values[match[1]], self.text)


@cache
def load(name: str) -> Prompt:
    """The shipped prompt ``name``. Raises ``ValueError`` for a file of another form."""
    return parse(name, (FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def parse(name: str, content: str) -> Prompt:
    """The prompt in a file's ``content``."""
    head, rule, body = content.partition("\n---\n")
    version = re.fullmatch(r"version: (\d+)", head)
    if not rule or version is None or not body.strip():
        raise ValueError(f"prompt {name!r} must be 'version: N', a line '---' and a text; it begins {content[:60]!r}")
    return Prompt(name, int(version[1]), body.removesuffix("\n"))
