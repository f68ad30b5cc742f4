"""A smaller CLIP begun from the weights of a larger one: whole layers at even distances, the front of every width.

Source: manual weight inheritance of TinyCLIP (Wu et al. 2023, arXiv 2309.12314, section 3.2): of a stack of n layers a
student with m takes those at 0, n // m, 2 (n // m), ...; of a width it takes the first numbers, heads whole. Works for
any pair of one family of networks, as it goes by the names and shapes of their tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from potstill.config import RequestError

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY = re.compile(r"(token|word)_embeddings?\.weight$")
GRID = re.compile(r"visual\..*pos\w*_embed\w*$")
"""A place for every patch: the first of them are not those of a smaller picture."""
FUSED = re.compile(r"in_proj_(weight|bias)$|\bqkv\.(weight|bias)$")
"""Queries, keys and values one after the other in one tensor."""


def inherit(
    teacher: Mapping[str, Tensor],
    teacher_cfg: Mapping[str, Any],
    student: Mapping[str, Tensor],
    student_cfg: Mapping[str, Any],
) -> dict[str, Tensor]:
    """The student's tensors cut out of the teacher's.

    ``teacher`` and ``student`` are state dicts, of the student only names and shapes count; the two ``cfg`` are
    open_clip's ``model_cfg``, for the widths of heads. Raises :class:`RequestError` that names the tensor where the
    student is larger than the teacher, of another family, of another vocabulary or patch grid, or has other heads.
    """
    for tower in ("visual", "text"):
        theirs, ours = head_width(teacher_cfg, tower), head_width(student_cfg, tower)
        if theirs != ours:
            raise RequestError(
                f"heads are inherited whole, but those of the student's {tower} tower are {ours} numbers wide, the "
                f"teacher's {theirs}; give the student heads of {theirs}"
            )
    depths, wanted = _depths(teacher), _depths(student)
    state = {}
    for name, like in student.items():
        origin = _origin(name, depths, wanted)
        if origin not in teacher:
            raise RequestError(
                f"the student's {name} is {origin} in the teacher, which has none; take one of its family"
            )
        state[name] = _front(teacher[origin], like, name)
    return state


def head_width(cfg: Mapping[str, Any], tower: str) -> int:
    """Numbers of an attention head of the ``visual`` or the ``text`` tower by open_clip's ``model_cfg``."""
    if tower == "visual":
        return int(cfg["vision_cfg"].get("head_width", 64))
    text = cfg["text_cfg"]
    return int(text.get("width", 512)) // int(text.get("heads", 8))


def _depths(names: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Of every list of layers (`visual.transformer.resblocks.`) the numbers that occur, in order."""
    found: dict[str, set[int]] = {}
    for name in names:
        for number in re.finditer(r"(?<=\.)(\d+)\.", name):
            found.setdefault(name[: number.start()], set()).add(int(number[1]))
    return {prefix: sorted(numbers) for prefix, numbers in found.items()}


def _origin(name: str, theirs: Mapping[str, list[int]], ours: Mapping[str, list[int]]) -> str:
    """The teacher's name of a tensor of the student; lists within lists from the outside in."""
    parts = name.split(".")
    mine, origin = "", ""
    for part in parts:
        if part.isdecimal() and mine in ours and origin in theirs:
            place = ours[mine].index(int(part))
            step = len(theirs[origin]) // len(ours[mine])
            if not step:
                raise RequestError(
                    f"{mine.rstrip('.')} has {len(ours[mine])} layers in the student and {len(theirs[origin])} in the "
                    "teacher; a student inherits from a deeper one"
                )
            origin += f"{theirs[origin][place * step]}."
        else:
            origin += f"{part}."
        mine += f"{part}."
    return origin.removesuffix(".")


def _front(source: Tensor, like: Tensor, name: str) -> Tensor:
    """As many first numbers of ``source`` in every dimension as ``like`` has; of each of q, k and v where fused."""
    shape = tuple(like.shape)
    if FUSED.search(name):
        source, shape = source.unflatten(0, (3, -1)), (3, shape[0] // 3, *shape[1:])
    given = tuple(source.shape)
    whole = slice(2, None) if len(shape) == 4 else slice(-1) if GRID.search(name) else slice(int(_is_vocabulary(name)))
    larger = any(ours > theirs for ours, theirs in zip(shape, given, strict=False))
    if len(shape) != len(given) or shape[whole] != given[whole] or larger:
        raise RequestError(
            f"{name} is {tuple(like.shape)} in the student, which is not the front of the teacher's "
            f"{tuple(source.shape)}: a student may be narrower, with the same vocabulary, grid of patches and kernels"
        )
    return source[tuple(slice(size) for size in shape)].reshape(like.shape).clone().contiguous()


def _is_vocabulary(name: str) -> bool:
    return VOCABULARY.search(name) is not None
