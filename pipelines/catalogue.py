"""What there is to build plans from, read from the plan's own unions and from the shipped plans."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from potstill.pipelines import registry
from potstill.pipelines.plan import shipped_plans


def catalogue() -> dict[str, dict[str, str]]:
    """Group (plans, sources, stages, sinks) -> name -> its first line."""
    return {
        "plans": {name: _header(path) for name, path in shipped_plans().items()},
        "sources": _kinds(registry.AnySource),
        "stages": _kinds(registry.AnyStage),
        "sinks": _kinds(registry.AnySink),
    }


def _kinds(union: Any) -> dict[str, str]:
    """Kind -> first line of the docstring, for one class or an (annotated) union of classes."""
    if get_origin(union) is Annotated:
        union = get_args(union)[0]
    members = get_args(union) or (union,)
    return {member.model_fields["kind"].default: _first_line(inspect.getdoc(member) or "") for member in members}


def _header(path: Path) -> str:
    """First line of a plan's header comment."""
    return _first_line(path.read_text(encoding="utf-8").lstrip("# \n"))


def _first_line(text: str) -> str:
    """The first line without the marks of a docstring."""
    return re.sub(r":\w+:(?=`)|`", "", text.strip().partition("\n")[0])
