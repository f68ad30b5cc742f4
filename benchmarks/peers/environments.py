"""Each peer's own environment, made from pinned names; a peer that cannot be installed is left out with a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """A tool: its driver script, its packages, the tasks that it can do."""

    name: str
    driver: str
    environment: str
    """Folder of its environment; two peers may share one."""
    packages: tuple[tuple[str, ...], ...]
    """What is installed, step by step: a later step may set aside what an earlier package asks for."""
    bare: tuple[str, ...] = ()
    """Packages to install last, without what they ask for."""
    tasks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Further words for the driver."""


_JUICER = (
    ("py-data-juicer==1.6.1",),
    ("torch==2.13.0", "PyWavelets==1.9.0", "scikit-learn==1.9.1", "matplotlib", "aiohttp"),
    ("transformers==5.23.0",),
)
_BARE = ("imagededup==0.3.3.post2", "torchvision==0.28.0")
_DATATROVE = (
    "datatrove[io]==0.10.1", "regex", "ftfy", "xxhash", "fasteners", "tldextract", "inscriptis", "tokenizers", "nltk",
    "fasttext-numpy2-wheel", "pillow==13.0.0",
)  # fmt: skip


def _juicer(name: str, batch: str, *tasks: str) -> Peer:
    return Peer(name, "with_data_juicer.py", "data_juicer", _JUICER, _BARE, tasks, (batch,))


PEERS = (
    _juicer("Data-Juicer 1.6.1", "default", "size", "dedup", "clip"),
    _juicer("Data-Juicer 1.6.1, batch_size 1", "1", "size"),
    Peer("Daft 0.7.26", "with_daft.py", "daft", (("daft==0.7.26", "numpy", "pillow"),), tasks=("size", "dedup")),
    Peer("datatrove 0.10.1", "with_datatrove.py", "datatrove", (_DATATROVE,), tasks=("size",)),
    Peer(
        "cleanvision 0.3.7", "with_cleanvision.py", "cleanvision", (("cleanvision==0.3.7",),), tasks=("size", "dedup")
    ),
    Peer("imagededup 0.3.3", "with_imagededup.py", "data_juicer", _JUICER, _BARE, tasks=("dedup",)),
)


def setup(peer: Peer, root: Path) -> Path | None:
    """Python of the peer's environment below ``root``, which is made if need be; None when that fails."""
    folder = root / peer.environment
    python, done = folder / "bin" / "python", folder / ".complete"
    if done.exists():
        return python
    steps: list[Sequence[str]] = [
        (sys.executable, "-m", "venv", str(folder)),
        *((str(python), "-m", "pip", "install", "-q", *packages) for packages in peer.packages),
    ]
    if peer.bare:
        steps.append((str(python), "-m", "pip", "install", "-q", "--no-deps", *peer.bare))
    for step in steps:
        ended = subprocess.run(step, capture_output=True, text=True, check=False)
        if ended.returncode:
            print(f"{peer.name} is left out: {' '.join(step[:5])} ... ended with {ended.stderr.strip()[-300:]}")
            return None
    done.touch()
    return python
