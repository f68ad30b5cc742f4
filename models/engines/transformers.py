"""A chat engine over the transformers library: any image-text-to-text or causal model, batched with left padding."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import logging

from potstill.models.engines import template
from potstill.models.engines.batching import Answer, Batcher, Job, answers
from potstill.models.engines.choices import closed, draw_choice, shared
from potstill.models.engines.decoding import Draw, Finished, Next
from potstill.models.engines.protocol import Completion, Request

if TYPE_CHECKING:
    from jaxtyping import Float

    from potstill.models.engines.settings import TransformersEngine


def load(settings: TransformersEngine) -> Transformers:
    """The engine for ``settings``: weights from safetensors only, no code from the model's repository."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "float32" if settings.dtype == "auto" and device == "cpu" else settings.dtype
    folder = settings.path()
    name = str(folder) if folder else settings.model
    where: dict[str, Any] = {"revision": settings.revision or "main", "local_files_only": folder is not None}
    config = AutoConfig.from_pretrained(name, **where)
    sees = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    model_class = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = model_class.from_pretrained(name, config=config, dtype=dtype, use_safetensors=True, **where)
        processor = (AutoProcessor if sees else AutoTokenizer).from_pretrained(name, **where)
    finally:
        if bars:
            logging.enable_progress_bar()
    return Transformers(model.to(device).eval(), processor, sees, settings.max_batch, settings.max_model_len)


class Transformers:
    """The engine; made by :func:`load`. ``sees`` says whether the model takes images."""

    def __init__(self, model: Any, processor: Any, sees: bool, max_batch: int, max_model_len: int | None) -> None:
        self._model, self._processor, self._max_batch = model, processor, max_batch
        self._tokenizer = processor.tokenizer if sees else processor
        self._tokenizer.padding_side = "left"
        text_config = model.config.get_text_config()
        limits = [max_model_len, getattr(text_config, "max_position_embeddings", None)]
        self.max_model_len = min([limit for limit in limits if limit] or [self._tokenizer.model_max_length])
        """Most tokens of prompt and reply together."""
        self._tokenizer.model_max_length = 2**62  # the limit is checked here, once the image is counted too
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._eos = sorted({token for token in [*ends, self._tokenizer.eos_token_id] if token is not None})
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.convert_ids_to_tokens(self._eos[0])
        model.generation_config = GenerationConfig(eos_token_id=self._eos, pad_token_id=self._tokenizer.pad_token_id)
        self._writer = template.PromptWriter(processor, sees)
        self._accepts = set(inspect.signature(model.forward).parameters)
        self._batcher = Batcher(self._compute, max_batch)

    def hook_prompt(self) -> str:
        """The chat template with a user turn that holds one image, cut exactly after the image (Oasis)."""
        return self._writer.hook_prompt()

    async def generate(self, request: Request) -> Completion:
        """Serve one request. Raises ``ValueError`` for a request the model cannot take (too long, image refused)."""
        if request.schema is not None or request.pattern is not None:
            raise ValueError(
                "an engine of kind transformers cannot bound a reply by a schema or a pattern; use choices, or an "
                "engine of kind vllm or openai"
            )
        prompt = self._writer.prompt(request)
        each = (replace(request, sampling=sampling) for sampling in request.sampling.each())
        return Completion.joined(await asyncio.gather(*(self._batcher.submit(one, prompt) for one in each)))

    def _compute(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer jobs of one group."""
        with torch.inference_mode():
            return self._write(jobs) if jobs[0].request.choices is None else self._choose(jobs)

    def _write(self, jobs: Sequence[Job]) -> list[Answer]:
        """Free replies."""
        inputs = self._inputs([job.prompt for job in jobs], [job.request for job in jobs])
        lengths = inputs["attention_mask"].sum(-1).tolist()
        long = {row: self._too_long(length, 1) for row, length in enumerate(lengths) if length >= self.max_model_len}
        if long:
            fitting = [job for row, job in enumerate(jobs) if row not in long]
            rest = iter(self._write(fitting) if fitting else ())
            return [long[row] if row in long else next(rest) for row in range(len(jobs))]
        draws = [
            Draw(job.request.sampling, self.max_model_len - length, self._eos, self._decode)
            for job, length in zip(jobs, lengths, strict=True)
        ]
        self._model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max(draw.limit for draw in draws),
            logits_processor=LogitsProcessorList([Next(draws)]),
            stopping_criteria=StoppingCriteriaList([Finished(draws)]),
        )
        return [_completion(draw, length) for draw, length in zip(draws, lengths, strict=True)]

    def _choose(self, jobs: Sequence[Job]) -> list[Answer]:
        """Replies out of the allowed ones: each choice is scored as a whole, by one forward pass over all of them."""
        rows = len(jobs[0].request.choices or ()) + 1
        most = max(1, self._max_batch // rows)
        if len(jobs) > most:
            parts = [jobs[start : start + most] for start in range(0, len(jobs), most)]
            return [answer for part in parts for answer in answers(self._choose, part)]
        end = self._tokenizer.eos_token
        texts = [job.prompt + text for job in jobs for text in ("", *closed(job.request.choices or (), end))]
        inputs = self._inputs(texts, [job.request for job in jobs for _ in range(rows)])
        lengths = inputs["attention_mask"].sum(-1).tolist()
        if max(lengths) > self.max_model_len:
            raise self._too_long(lengths[0], max(lengths) - lengths[0])
        totals = self._log_probabilities(inputs, lengths, rows)
        return [_choice(job, totals[index].tolist(), lengths[index * rows :]) for index, job in enumerate(jobs)]

    def _log_probabilities(
        self, inputs: Mapping[str, torch.Tensor], lengths: Sequence[int], rows: int
    ) -> Float[torch.Tensor, "jobs choices"]:
        """Log-probability (nats) of each choice after its prompt; each job has ``rows`` rows, the first its prompt."""
        ids, width = inputs["input_ids"], inputs["input_ids"].shape[1]
        texts = [ids[row, width - length :].tolist() for row, length in enumerate(lengths)]
        tails = [len(text) - shared(texts[row - row % rows], text) for row, text in enumerate(texts)]
        more: dict[str, Any] = {}
        if "position_ids" in self._accepts and not hasattr(getattr(self._model, "model", None), "get_rope_index"):
            more["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in self._accepts:
            more["logits_to_keep"] = max(tails) + 1
        logits = self._model(**inputs, **more).logits.float()
        totals = []
        for row, tail in enumerate(tails):
            steps = logits[row, logits.shape[1] - tail - 1 : -1].log_softmax(-1)
            totals.append(steps.gather(-1, ids[row, width - tail :, None]).sum())
        return torch.stack(totals).view(-1, rows)[:, 1:]

    def _inputs(self, prompts: Sequence[str], requests: Sequence[Request]) -> dict[str, torch.Tensor]:
        """Tensors for the model; rows are padded on the left. Raises ``ValueError`` when the processor refuses."""
        bos = self._tokenizer.bos_token
        options: dict[str, Any] = {"return_tensors": "pt", "padding": True}
        options["add_special_tokens"] = not (bos and all(prompt.startswith(bos) for prompt in prompts))
        images = [list(request.images) for request in requests]
        if any(images):
            options["images"] = images
        try:
            inputs = self._processor(text=list(prompts), **options)
        except Exception as error:
            raise ValueError(f"the processor refuses the request: {type(error).__name__}: {error}") from error
        if "token_type_ids" not in self._accepts:
            inputs.pop("token_type_ids", None)
        device, dtype = self._model.device, self._model.dtype
        return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()}

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _too_long(self, prompt: int, reply: int) -> ValueError:
        return ValueError(
            f"prompt of {prompt} tokens and a reply of at least {reply} do not fit in the context of "
            f"{self.max_model_len} tokens; shorten the text, shrink the image, or raise max_model_len as far as the "
            "model goes"
        )


def _completion(draw: Draw, prompt_tokens: int) -> Completion:
    asked = draw.sampling.logprobs is not None
    return Completion(
        text=draw.text(),
        prompt_tokens=prompt_tokens,
        completion_tokens=len(draw.tokens),
        finish_reason=draw.finish_reason or "length",
        token_logprobs=tuple(draw.token_logprobs) if asked else None,
        top_logprobs=tuple(draw.top_logprobs) if asked else None,
    )


def _choice(job: Job, totals: Sequence[float], lengths: Sequence[int]) -> Completion:
    """The drawn choice; ``lengths`` are the tokens of the prompt alone and with each choice."""
    choices = job.request.choices or ()
    best = draw_choice(totals, job.request.sampling)
    scores = dict(zip(choices, totals, strict=True))
    return Completion(choices[best], lengths[0], lengths[best + 1] - lengths[0], "stop", choice_logprobs=scores)
