"""Tokenizer and processor of the tiny chat model: byte-level BPE on the scenes' own texts, ChatML, constant texts as
one token.

The project's judge prompts are long and constant, so each constant segment (all of a prompt before its slot, and the
turn changes of the chat template) is one added token: a judge question costs about 15 tokens, where spelling it out
costs 150. A prompt with other words still works as text, but the model was not trained on it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Processor, PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from potstill.models.tiny.chat_judges import Prompt, any_instruction, caption_text, garble, slip
from potstill.models.tiny.chat_questions import questions
from potstill.models.tiny.scenes import CONCEPTS, plural, sample_scene

IMAGE_PIXELS: Final = 96
IMAGE_TOKENS: Final = 9
VOCABULARY: Final = 1216  # BPE entries; added tokens come on top, rounded up to a multiple of 64
USER: Final = "<|im_start|>user\n"
ASSISTANT: Final = "\n<|im_start|>assistant\n"
END: Final = "<|im_end|>"
PAD: Final = "<|pad|>"
SPECIAL: Final = (
    PAD,
    "<|im_start|>",
    END,
    "<image>",
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)
IMAGE_TEXT: Final = "<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def corpus(rows: int, seed: int) -> Iterable[str]:
    """Yield the texts the vocabulary is made from: questions, answers, captions, some with mistakes."""
    rng = np.random.default_rng(seed)
    for _ in range(rows):
        scene = sample_scene(rng)
        for question in questions(scene, rng, 6, absent=0.5):
            yield question.text
            yield question.answer
        yield caption_text(scene, rng)
        yield any_instruction(scene, rng)
        yield garble(any_instruction(scene, rng), rng)
        yield slip(any_instruction(scene, rng), rng)
        yield f"Score: {rng.integers(1, 6)} NO_INST"
        yield " ".join(f"{word} {plural(word)}" for word in CONCEPTS)


def build_tokenizer(prompts: Mapping[str, Prompt], seed: int, rows: int = 3000) -> PreTrainedTokenizerFast:
    """Return the tokenizer: BPE trained on `rows` scenes' texts, special tokens, and one added token per constant
    segment.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(rows, seed), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    segments = [part for prompt in prompts.values() for part in (prompt.before, prompt.after) if part]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in (USER, ASSISTANT, *segments)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Return the processor: every picture is squared to 96 x 96 pixels and becomes 9 image tokens between 3 markers."""
    edge = {"longest_edge": IMAGE_PIXELS}
    images = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    return Idefics3Processor(images, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)


def load_processor(folder: Path) -> Idefics3Processor:
    """Return the processor saved in the folder, read without a network."""
    return Idefics3Processor.from_pretrained(folder, local_files_only=True)
