"""The tiny chat model: an Idefics3 (SigLIP-like tower, linear connector, Llama) of about 4 M parameters, and its
start values.

One patch of the tower is one cell of a scene. Three start values make it learn on a CPU: patch weights are whitened
principal components of real patches, the wordings of one concept ("dog", " dog", " dogs") share a start vector, and
the tower is first taught to place each image token near the word vectors of what its cell shows (`cell_loss`).
"""

from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from potstill.models.tiny.chat_tokens import END, IMAGE_PIXELS, PAD
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, plural

PATCH: Final = IMAGE_PIXELS // 3
EMPTY_WORD: Final = "Nothing"
VECTOR_STD: Final = 0.05
SHARPNESS: Final = 12.0  # logit of a cell whose image token equals the word vector itself


def build_model(
    tokenizer: PreTrainedTokenizerFast, *, width: int = 192, layers: int = 4, tower_layers: int = 3
) -> Idefics3ForConditionalGeneration:
    """Return an untrained model; heads of 32, tied word vectors while training (`export` unties them)."""
    eos, pad = tokenizer.convert_tokens_to_ids([END, PAD])
    vision = Idefics3VisionConfig(
        hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=tower_layers,
        num_attention_heads=width // 32,
        image_size=IMAGE_PIXELS, patch_size=PATCH,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_size=width, intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32, num_key_value_heads=width // 32, head_dim=32, max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=eos, pad_token_id=pad, tie_word_embeddings=True,
    )  # fmt: skip
    config = Idefics3Config(
        vision_config=vision, text_config=text, scale_factor=1, pad_token_id=pad, tie_word_embeddings=True,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), bos_token_id=tokenizer.bos_token_id,
        eos_token_id=eos,
    )  # fmt: skip
    return Idefics3ForConditionalGeneration(config)


def pixels(images: np.ndarray) -> Tensor:
    """Return float32 (n, 3, 96, 96) in -1..1 from uint8 (n, 96, 96, 3), as the image processor scales them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def start_patches(model: Idefics3ForConditionalGeneration, images: np.ndarray) -> None:
    """Set the patch weights to whitened principal components of the patches of uint8 images (n, 96, 96, 3)."""
    conv = model.model.vision_model.embeddings.patch_embedding
    with torch.no_grad():
        patches = functional.unfold(pixels(images), PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH * PATCH)
        mean = patches.mean(0)
        _, values, axes = torch.pca_lowrank(patches - mean, q=conv.out_channels, center=False, niter=3)
        scale = values / len(patches) ** 0.5
        weight = (axes / scale).T
        conv.weight.copy_(weight.view_as(conv.weight))
        conv.bias.copy_(-weight @ mean)
        model.model.connector.modality_projection.proj.weight.mul_(
            0.25
        )  # image tokens start about as long as word vectors


def concept_tokens(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return the token (105,) that stands for each concept: the first token of " dog"."""
    return torch.tensor([tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in CONCEPTS])


def start_words(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the wordings of one concept, and of one colour, nearly the same start vector (standard deviation
    VECTOR_STD).
    """
    vectors = model.get_input_embeddings().weight
    families = [(word, plural(word)) for word in CONCEPTS] + [(word, word) for word in COLOUR_NAMES]
    with torch.no_grad():
        nn.init.normal_(vectors, std=VECTOR_STD)
        for one, many in families:
            variants = (f" {one}", f" {many}", one, many, one.capitalize(), many.capitalize())
            firsts = {tokenizer.encode(text, add_special_tokens=False)[0] for text in variants}
            lead = tokenizer.encode(f" {one}", add_special_tokens=False)[0]
            for token in firsts - {lead}:
                if len(tokenizer.decode([token]).strip()) > 2:
                    vectors[token] = 0.9 * vectors[lead] + 0.44 * vectors[token]


def image_tokens(model: Idefics3ForConditionalGeneration, pictures: Tensor) -> Tensor:
    """Return the 9 image tokens (n, 9, width) of float pictures (n, 3, 96, 96)."""
    whole = torch.ones(len(pictures), 3, 3, dtype=torch.bool)
    hidden = model.model.vision_model(pixel_values=pictures, patch_attention_mask=whole).last_hidden_state
    return model.model.connector(hidden)


def cell_logits(model: Idefics3ForConditionalGeneration, tokens: Tensor, words: Tensor) -> Tensor:
    """Return (n, 9, words): how near each image token (n, 9, width) is to the vectors of the given word tokens
    (words,).
    """
    vectors = model.get_input_embeddings().weight[words]
    return tokens @ vectors.T * (SHARPNESS / (VECTOR_STD**2 * vectors.shape[1]))


def cell_words(tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Return the tokens of the 105 concepts and the empty cell (106,), and of the 8 colours (8,)."""
    empty = tokenizer.encode(EMPTY_WORD, add_special_tokens=False)[:1]
    colours = [tokenizer.encode(f" {name}", add_special_tokens=False)[0] for name in COLOUR_NAMES]
    return torch.cat([concept_tokens(tokenizer), torch.tensor(empty)]), torch.tensor(colours)


def cell_loss(
    model: Idefics3ForConditionalGeneration,
    tokens: Tensor,
    cells: Tensor,
    colours: Tensor,
    words: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the mean loss in nats of naming cells (n, 9; 105 = empty) and backgrounds (n,), and the share of cells
    named right.
    """
    concept = cell_logits(model, tokens, words[0])
    colour = cell_logits(model, tokens, words[1])
    loss = functional.cross_entropy(concept.flatten(0, 1), cells.flatten())
    loss = loss + 0.5 * functional.cross_entropy(colour.flatten(0, 1), colours[:, None].expand(-1, 9).flatten())
    return loss, (concept.argmax(-1) == cells).float().mean()


def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """Return the fast tokenizer under the transformers wrapper."""
    return tokenizer.backend_tokenizer
