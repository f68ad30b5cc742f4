"""One CLIP architecture with random weights, as Hugging Face's and as open_clip's folder: for speed alone.

    python -m benchmarks.peers.clip_models hf FOLDER        in Data-Juicer's environment
    python -m benchmarks.peers.clip_models open_clip FOLDER in Potstill's

Vision: 6 layers of width 384, patches of 32 in 224 pixels. Text: 4 layers of width 256, 77 tokens. Both to 256.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def hugging_face(folder: Path) -> None:
    """Model, tokenizer of bytes, and processor."""
    import torch

    operators = torch.library.Library("torchvision", "DEF")  # see with_imagededup.py
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(code) for code in letters] + [chr(256 + n) for n in range(256 - len(letters))]
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    ends = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    text = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    vision = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 6}
    config = CLIPConfig(
        text_config={**text, **ends, "vocab_size": len(words)},
        vision_config={**vision, "patch_size": 32, "image_size": 224},
        projection_dim=256,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def open_clip_folder(folder: Path) -> None:
    """Configuration and weights."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "embed_dim": 256,
        "vision_cfg": {"image_size": 224, "layers": 6, "width": 384, "head_width": 64, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 4},
    }
    whole = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))


if __name__ == "__main__":
    {"hf": hugging_face, "open_clip": open_clip_folder}[sys.argv[1]](Path(sys.argv[2]))
