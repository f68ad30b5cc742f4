"""Brings a trained chat model into the form in which it is embedded: half precision, word vectors untied.

python -m potstill.models.tiny.ship_chat --model trainings/second/model --out models/tiny/chat
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Idefics3ForConditionalGeneration

from potstill.models.tiny.chat_tokens import load_processor
from potstill.models.trainers.vlm_model import save_processor


def ship(model: Path, out: Path) -> None:
    """Write the model of a folder as float16 safetensors with an output matrix of its own, as vLLM reads it."""
    given = Idefics3ForConditionalGeneration.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    config = type(given.config).from_dict(given.config.to_dict())
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    for part in (config, config.text_config, config.vision_config):
        part.dtype = torch.float16
    copy = Idefics3ForConditionalGeneration(config)
    state = {name: value.clone() for name, value in given.state_dict().items()}
    state["lm_head.weight"] = state["model.text_model.embed_tokens.weight"].clone()
    copy.load_state_dict(state)
    copy.generation_config = given.generation_config
    copy.half().save_pretrained(out)
    save_processor(load_processor(model), out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder that a training wrote")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    ship(options.model, options.out)


if __name__ == "__main__":
    main()
