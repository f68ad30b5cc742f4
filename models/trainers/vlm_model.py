"""The parts of an image-text-to-text model: which of them learn, and how it is loaded and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.utils import logging

from potstill.config import RequestError
from potstill.models.trainers.vlm import Lora, Part, VlmRecipe

PROJECTORS = frozenset({
    "connector", "multi_modal_projector", "modality_projection", "projector", "merger", "mlp1", "aligner",
    "embed_vision", "deepstack_merger_list",
})  # fmt: skip
"""Names that families of models give to what brings pictures into the language model."""
DENSE_ONLY = ("final_logit_softcapping", "logit_scale", "logits_scaling", "logits_scale")
"""Settings of models that do more to logits than their head does."""


def load_model(recipe: VlmRecipe, name: str, layers: int | None = None) -> PreTrainedModel:
    """The model in float32, on the CPU; with only the first ``layers`` of its language model. Safetensors only."""
    path, where = recipe.model_named(name)
    with _quiet():
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32, use_safetensors=True, **where)
    if layers is not None:
        keep_layers(model, layers)
    return model


def keep_layers(model: PreTrainedModel, count: int) -> None:
    """Cut the language model after its first layers, in place (LLaVADI, arXiv 2407.19409: the best start of three)."""
    decoder, config = model.get_decoder(), model.config.get_text_config()
    has = len(getattr(decoder, "layers", ()))
    if count > has:
        raise RequestError(f"layers is {count}, and the language model has {has}")
    decoder.layers = decoder.layers[:count]
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:count]


def part_of(model: PreTrainedModel) -> dict[str, str]:
    """The part, ``projector``, ``language`` or ``vision``, that each parameter belongs to."""
    head = model.get_output_embeddings()
    text = {id(p) for module in (model.get_decoder(), head) if module is not None for p in module.parameters()}
    tower = model.get_encoder(modality="image")
    if tower is model or not isinstance(tower, nn.Module):
        raise RequestError(f"{type(model).__name__} has no picture encoder that transformers names")
    seen = {id(p) for p in tower.parameters()}
    parts = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in text:
            parts[name] = "language"
        elif PROJECTORS & set(name.split(".")) or id(parameter) not in seen:
            parts[name] = "projector"
        else:
            parts[name] = "vision"
    return parts


def choose(model: PreTrainedModel, trainable: Sequence[Part], lora: Lora) -> None:
    """Let these parts learn and nothing else; ``lora`` puts additions into the language model, in place."""
    parts = part_of(model)
    missing = sorted(set(trainable) - {"all", "lora"} - set(parts.values()))
    if missing:
        has = ", ".join(sorted(set(parts.values())))
        raise RequestError(f"trainable names {', '.join(missing)}, and {type(model).__name__} has {has}")
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_("all" in trainable or parts[name] in trainable)
    if "lora" in trainable:
        learning = [p for p in model.parameters() if p.requires_grad]
        add_lora(model, lora)
        for parameter in learning:
            parameter.requires_grad_(True)


def add_lora(model: PreTrainedModel, lora: Lora) -> Any:
    """Peft's view of the model, whose language model has low-rank additions."""
    from peft import LoraConfig, get_peft_model

    inside = {id(module) for module in model.get_decoder().modules()}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside]
    targets = [name for name in linear if lora.targets is None or name.rpartition(".")[2] in lora.targets]
    unknown = sorted(set(lora.targets or ()) - {name.rpartition(".")[2] for name in targets})
    if unknown or not targets:
        has = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise RequestError(f"lora.targets names {', '.join(unknown)}; the language model's linear layers are {has}")
    settings = LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    return get_peft_model(model, settings)


def write(recipe: VlmRecipe, model: PreTrainedModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """A transformers folder of a model with these weights, additions merged. ``model`` gives its settings alone."""
    dtype = getattr(torch, recipe.export_dtype)
    with torch.device("meta"):
        empty = type(model)(model.config)
    peft = None
    if "lora" in recipe.trainable:
        peft = add_lora(empty, recipe.lora)
        weights = {name: x.clone() for name, x in weights.items()}  # merging writes into what the student may still use
    empty.load_state_dict(dict(weights), assign=True)
    empty.tie_weights()
    whole = empty if peft is None else peft.merge_and_unload()
    whole.generation_config = model.generation_config
    with _quiet():
        whole.to(dtype).save_pretrained(folder)


def save_processor(processor: Any, folder: Path) -> None:
    """Write it without how it was loaded, which is no property of the tokenizer."""
    for name in ("is_local", "local_files_only"):
        processor.tokenizer.init_kwargs.pop(name, None)
    processor.save_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without bars of progress."""
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


def plain_head(model: PreTrainedModel) -> nn.Linear | None:
    """The head, where logits are nothing but it; None for models that do more."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    more = any(getattr(config, name, None) for name in DENSE_ONLY)
    return head if type(head) is nn.Linear and not more else None
