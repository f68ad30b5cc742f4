"""How a run ends badly, and what a worker said when it did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from potstill.config import RequestError
from potstill.pipelines.chunk import ConservationError


class RunFailed(Exception):
    """The run could not end; what it committed stands, and the same command goes on from there. Exit code 1."""


class TooManyErrors(Exception):
    """More rows in quarantine than the plan allows; exit code 3."""


def unwrapped(results: Iterator[Any]) -> Iterator[Any]:
    """The results; an exception of Ray becomes the one that a worker raised, or :class:`RunFailed` that names it."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield from results
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, OSError | RequestError | ConservationError) else None
        if cause is not None:
            raise cause from None
        words = own_words(str(error))
        number = re.match(r"OSError: \[Errno (\d+)\] (.*)", words)
        raise (OSError(int(number[1]), number[2]) if number else RunFailed(words)) from error
    except RayError as error:
        raise RunFailed(f"Ray: {type(error).__name__}: {error}") from error


def named(results: Iterator[Any]) -> Iterator[Any]:
    """The results of threads; what they raise becomes the same as from a worker."""
    try:
        yield from results
    except (OSError, RequestError, ConservationError):
        raise
    except Exception as error:
        raise RunFailed(f"{type(error).__name__}: {error}") from error


def own_words(text: str) -> str:
    """``Type: message`` of what a worker raised, out of the traceback that Ray Data hands over in its place.

    Of the exception itself nothing but this text is left; the last paragraph is Ray's advice on retries.
    """
    parts = text.split("The above exception was the direct cause of the following exception:")
    ours = parts[-2] if len(parts) > 1 and "UserCodeException: " in parts[-1] else parts[-1]
    lines = ours.strip().splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith("  ")]
    words = "\n".join(lines[frames[-1] + 1 :] if frames else lines).strip() or text.strip()
    return re.sub(r"^(\w+\.)+(?=\w+: )", "", words)
