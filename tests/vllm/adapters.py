"""A small random LoRA adapter in peft's files, and the model that it makes of another, with the weights merged."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

RANK, ALPHA = 4, 8
TARGETS = ("q_proj", "v_proj")


def save(model: Path, folder: Path, seed: int = 0, size: float = 0.8) -> Path:
    """Write an adapter for the text layers of ``model`` to ``folder``."""
    random, weights = torch.Generator().manual_seed(seed), {}
    for name, weight in load_file(model / "model.safetensors").items():
        if ".text_model.layers." in name and name.split(".")[-2] in TARGETS:
            key = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{key}.lora_A.weight"] = torch.randn(RANK, weight.shape[1], generator=random) * size
            weights[f"{key}.lora_B.weight"] = torch.randn(weight.shape[0], RANK, generator=random) * size / 10
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": list(TARGETS)}))
    return folder


def merge(model: Path, adapter: Path, folder: Path) -> Path:
    """Write to ``folder`` the model with W + alpha / rank * B A as weights (Hu et al. 2021, arXiv 2106.09685)."""
    shutil.copytree(model, folder)
    weights, low = load_file(model / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for name in weights:
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in low:
            weights[name] += ALPHA / RANK * low[f"{key}.lora_B.weight"] @ low[f"{key}.lora_A.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
