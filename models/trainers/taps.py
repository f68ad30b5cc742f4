"""Inner activations of a network by the dotted names of its modules."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def tapped_names(needs: Collection[str], owner: str) -> list[str]:
    """Features of ``student`` or ``teacher`` among what losses need."""
    before = f"{owner}.features."
    return sorted(need.removeprefix(before) for need in needs if need.startswith(before))


@contextmanager
def taps(network: nn.Module, names: Collection[str]) -> Iterator[Mapping[str, Tensor]]:
    """What these modules give while the network runs inside; filled by the end.

    Raises ValueError for a name that is no module, and lists those at the level where it fails.
    """
    found: dict[str, Tensor] = {}
    hooks = []
    for name in names:
        module = _module(network, name)

        def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            found[name] = output[0] if isinstance(output, tuple) else output

        hooks.append(module.register_forward_hook(keep))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _module(network: nn.Module, name: str) -> nn.Module:
    module, done = network, []
    for part in name.split("."):
        inside = dict(module.named_children())
        if part not in inside:
            where = ".".join(done) or "the network"
            raise ValueError(f"no module {name!r}: {where} has {', '.join(inside) or 'no modules'}")
        module = inside[part]
        done.append(part)
    return module
