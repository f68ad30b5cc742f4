"""imagededup: its perceptual hash at its own default distance. Run by run.py in its own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

# Its import pulls in torchvision, whose operators are missing beside a torch without them; a reference stays alive.
OPERATORS = torch.library.Library("torchvision", "DEF")
OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def main(_: str, data: str, out: str) -> None:
    """Write the names of the pictures that stay."""
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    hashes = hasher.encode_images(image_dir=str(Path(data, "images")), num_enc_workers=0)
    gone = set(hasher.find_duplicates_to_remove(encoding_map=hashes, max_distance_threshold=10))
    Path(out).write_text(json.dumps([name for name in hashes if name not in gone]))


if __name__ == "__main__":
    main(*sys.argv[1:])
