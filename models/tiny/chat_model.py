"""The tiny chat model: an Idefics3 (SigLIP-like tower, linear connector, Llama) of about 4 M parameters, and its
start values.

One patch of the tower is one cell of a scene. Four start values make it learn on a CPU: patch weights are whitened
principal components of real patches; the wordings of one concept ("dog", " dog", " dogs") share a start vector;
attention copies from the start; and the tower is first taught to place each image token near the word vectors of all
that is true of its cell: concept, group, number of its like, row, column, background (`cell_loss`).
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from potstill.models.tiny.chat_tokens import END, IMAGE_PIXELS, PAD
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, EMPTY, GROUP_OF, GROUPS, MAX_COUNT, NUMBERS, plural

PATCH: Final = IMAGE_PIXELS // 3
EMPTY_WORD: Final = "Nothing"
VECTOR_STD: Final = 0.05
UNKNOWN: Final = -100  # label of a cell that has none in a family
FAMILIES: Final = {
    "concept": 1.0,
    "colour": 0.4,
    "row": 0.2,
    "column": 0.2,
    "number": 0.4,
    "group": 0.2,
}  # loss weights
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


def start_attention(model: Idefics3ForConditionalGeneration) -> None:
    """Let attention copy from the start: value and output matrices near the identity, matching heads at first.

    What is attended to then moves to where it is said, and need not be learnt word by word; a matching head looks at
    tokens like its own, as a judge must to see whether a named thing is in the picture.
    """
    for number, layer in enumerate(model.model.text_model.layers):
        attention = layer.self_attn
        eye = torch.eye(attention.v_proj.in_features)
        matching = attention.q_proj.out_features // 2 if number < 2 else 0
        with torch.no_grad():
            attention.v_proj.weight.add_(eye)
            attention.o_proj.weight.add_(0.08 * eye)
            attention.q_proj.weight[:matching] += 0.9 * eye[:matching]
            attention.k_proj.weight[:matching] += 0.9 * eye[:matching]


def image_tokens(model: Idefics3ForConditionalGeneration, pictures: Tensor) -> Tensor:
    """Return the 9 image tokens (n, 9, width) of float pictures (n, 3, 96, 96)."""
    whole = torch.ones(len(pictures), 3, 3, dtype=torch.bool)
    hidden = model.model.vision_model(pixel_values=pictures, patch_attention_mask=whole).last_hidden_state
    return model.model.connector(hidden)


def cell_words(tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
    """Return per family of labels the tokens of its words: concept (105 and the empty cell), colour and so on."""
    words = {
        "concept": [*(f" {word}" for word in CONCEPTS), EMPTY_WORD],
        "colour": [f" {name}" for name in COLOUR_NAMES],
        "row": [" top", " middle", " bottom"],
        "column": [" left", " centre", " right"],
        "number": [f" {NUMBERS[n]}" for n in range(1, MAX_COUNT + 1)],
        "group": [f" {group}" for group in GROUPS],
    }
    return {
        family: torch.tensor([tokenizer.encode(word, add_special_tokens=False)[0] for word in listed])
        for family, listed in words.items()
    }


def cell_targets(cells: np.ndarray, colours: np.ndarray) -> dict[str, Tensor]:
    """Return the label (n, 9) of every cell in each family, from cells (n, 9) and colours (n,); UNKNOWN if none."""
    empty = cells == EMPTY
    same = (cells[:, :, None] == cells[:, None, :]).sum(-1)
    place = np.broadcast_to(np.arange(9), cells.shape)
    group = np.array([list(GROUPS).index(name) for name in GROUP_OF])[cells]
    targets = {
        "concept": np.where(empty, len(CONCEPTS), cells),
        "colour": np.broadcast_to(colours[:, None], cells.shape),
        "row": place // 3,
        "column": place % 3,
        "number": np.where(empty | (same > MAX_COUNT), UNKNOWN, same - 1),
        "group": np.where(empty, UNKNOWN, group),
    }
    return {family: torch.from_numpy(np.ascontiguousarray(labels)) for family, labels in targets.items()}


def cell_loss(
    model: Idefics3ForConditionalGeneration, tokens: Tensor, targets: dict[str, Tensor], words: dict[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted loss in nats of naming the cells' labels, and the share named right in each family.

    An image token (n, 9, width) names a word by lying near its vector: the logit is their product times a constant.
    """
    vectors = model.get_input_embeddings().weight
    scale = SHARPNESS / (VECTOR_STD**2 * vectors.shape[1])
    loss, right = tokens.new_zeros(()), {}
    for family, weight in FAMILIES.items():
        logits = (tokens @ vectors[words[family]].T * scale).flatten(0, 1)
        labels = targets[family].flatten()
        loss = loss + weight * functional.cross_entropy(logits, labels, ignore_index=UNKNOWN)
        known = labels != UNKNOWN
        right[family] = (logits.argmax(-1) == labels)[known].float().mean().item()
    return loss, right
