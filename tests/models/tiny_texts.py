"""Tiny language models with weights that make their answers easy to work out, saved as transformers folders."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

LETTERS = ["a", "b", "c", "d"]


def tokenizer(folder, specials, *, closed=False, limit=None):
    """One token per word; ``closed`` puts [CLS] and [SEP] around a text. Ids: specials first, then the letters."""
    words = {token: number for number, token in enumerate([*specials, *LETTERS])}
    plain = Tokenizer(models.WordLevel(words, unk_token=specials[0]))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if closed:
        ends = [(token, words[token]) for token in ("[CLS]", "[SEP]")]
        plain.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {"pad_token": specials[0], "unk_token": specials[0]}
    if not closed and len(specials) > 1:
        named["bos_token"] = specials[1]
    length = {"model_max_length": limit} if limit else {}
    PreTrainedTokenizerFast(tokenizer_object=plain, **named, **length).save_pretrained(folder)


def classifier(folder, labels=("fine", "rude", "threat"), *, multi_label=False, positions=16, seed=0):
    """A BERT of random weights over four letters; 16 tokens at most."""
    tokenizer(folder, ["[PAD]", "[CLS]", "[SEP]"], closed=True)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=7,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else None,
        initializer_range=0.8,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def bigrams(folder, logits, *, bos=True, positions=64):
    """A Llama whose next token depends on the last one alone: ``logits[last][next]``, over [PAD], <s>, a, b, c, d.

    Attention and MLP are zero, so what is left is embedding, norm and head: a one-hot row of width 8, which the norm
    scales by sqrt(8), times the table.
    """
    tokenizer(folder, ["[PAD]", "<s>"] if bos else ["[PAD]"])
    size = len(logits)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=positions,
        rms_norm_eps=1e-12,
        tie_word_embeddings=False,
        bos_token_id=1 if bos else None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, :size] = torch.eye(size)
        model.lm_head.weight[:, :size] = torch.tensor(logits, dtype=torch.float32).T / 8**0.5
    model.save_pretrained(folder)
    return str(folder)


def random_lm(folder, positions=64, seed=0):
    """A Llama of random weights, so that all that went before counts."""
    tokenizer(folder, ["[PAD]", "<s>"])
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=6,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
        initializer_range=0.8,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)
