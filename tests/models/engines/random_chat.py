"""A tiny Idefics3 with random weights and bytes as tokens: a real model, though nothing it says makes sense."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig, PreTrainedTokenizerFast
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = (
    "<|pad|>", "<|im_start|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>",
    "<end_of_utterance>",
)  # fmt: skip
IMAGE_TOKENS = 4


def byte_tokenizer(special: tuple[str, ...], pad: str, end: str) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each byte and one for each special text."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(sorted(alphabet))}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token=end)


def save(folder: Path, seed: int = 0, context: int = 1024) -> Path:
    """Write the model to ``folder``: bytes as tokens, 4 image tokens per picture, ``context`` positions."""
    fast = byte_tokenizer(SPECIAL, "<|pad|>", "<|im_end|>")
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(
            size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, do_image_splitting=False
        ),
        fast,
        image_seq_len=IMAGE_TOKENS,
        chat_template=TEMPLATE,
    )
    ids = {token: fast.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=56,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, max_position_embeddings=context, bos_token_id=None,
            eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|pad|>"], tie_word_embeddings=False,
        ),
        image_token_id=ids["<image>"], scale_factor=2, pad_token_id=ids["<|pad|>"], tie_word_embeddings=False,
    )  # fmt: skip
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)  # so that the next token depends on what came before
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
