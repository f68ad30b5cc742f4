"""The engine on other families: random LLaVA-1.5 and Qwen2-VL, whose pictures reach the model in other ways."""

import pytest
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from potstill.models.engines.settings import TransformersEngine
from tests.models.engines import random_chat
from tests.models.engines.test_template import LLAVA, QWEN2_VL
from tests.models.engines.test_transformers import ask, mixed, same


def llava():
    tokenizer = random_chat.byte_tokenizer(("<pad>", "</s>", "<image>"), "<pad>", "</s>")
    end, image = tokenizer.convert_tokens_to_ids(["</s>", "<image>"])
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA,
    )
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**shape, image_size=56, patch_size=14, projection_dim=32),
        text_config=LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=512, eos_token_id=end),
        image_token_id=image,
        image_seq_length=16,
    )
    return LlavaForConditionalGeneration(config), processor


def qwen2_vl():
    special = ("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>")
    special += ("<|image_pad|>", "<|video_pad|>")
    tokenizer = random_chat.byte_tokenizer(special, "<|endoftext|>", "<|im_end|>")
    pad, end, _, start, stop, image, video = tokenizer.convert_tokens_to_ids(list(special))
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=QWEN2_VL,
    )
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024, "bos_token_id": None,
        "eos_token_id": end, "pad_token_id": pad,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4},
    }  # fmt: skip
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=stop,
    )
    return Qwen2VLForConditionalGeneration(config), processor


@pytest.mark.parametrize("family", [llava, qwen2_vl])
def test_neither_order_nor_company_changes_a_reply(family, tmp_path):
    model, processor = family()
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    engine = TransformersEngine(model=str(tmp_path), threads=1).build()
    requests = mixed(engine)
    together = ask(engine, *requests)
    assert all(map(same, together, [ask(engine, request)[0] for request in requests]))
