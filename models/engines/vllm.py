"""A chat engine over vLLM: every request goes to its scheduler at once, and equal beginnings are computed once.

vLLM's asynchronous engine runs beside this process: one process schedules, one or more compute. They end when this
process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers import AutoProcessor, AutoTokenizer
from vllm import SamplingParams
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.utils.async_utils import cancel_task_threadsafe
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
from vllm.v1.executor import Executor

from potstill.models.engines import template
from potstill.models.engines.choices import closed, draw_choice, shared
from potstill.models.engines.protocol import Completion, EngineDied, Request
from potstill.models.engines.watched import WATCHED

if TYPE_CHECKING:
    from PIL.Image import Image

    from potstill.models.engines.settings import VllmEngine

MAX_LOGPROBS = 20
"""Most alternatives per token whose log-probabilities a request can ask for."""

ON_CPU: dict[str, Any] = {"enable_chunked_prefill": False, "block_size": 32}
"""A prompt in one piece, since seeded draws fail after a piece of one; and blocks of fewer than 128 tokens, since only
whole blocks of a prefix are found again."""

COMPACT: dict[str, Any] = {"backend": "guidance", "disable_any_whitespace": True}
"""JSON without blanks, of which a weak model would otherwise write on and on; the backend that keeps to that and knows
regular expressions as well."""


def load(settings: VllmEngine) -> Vllm:
    """The engine for ``settings``: weights from safetensors only, no code from the model's repository."""
    folder = settings.path()
    name = str(folder) if folder else settings.model
    dtype = "float32" if settings.dtype == "auto" and current_platform.is_cpu() else settings.dtype
    adapter = settings.adapter()
    args = AsyncEngineArgs(
        model=name,
        revision=settings.revision,
        dtype=dtype,
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        kv_cache_memory_bytes=None if settings.kv_cache_gib is None else int(settings.kv_cache_gib * 2**30),
        tensor_parallel_size=settings.tensor_parallel_size,
        enforce_eager=settings.enforce_eager,
        limit_mm_per_prompt={"image": settings.max_images},
        max_logprobs=MAX_LOGPROBS,
        **({"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter[1]} if adapter else {}),
        enable_prefix_caching=True,
        **(ON_CPU if current_platform.is_cpu() else {}),
        load_format="safetensors",
        structured_outputs_config=StructuredOutputsConfig(**COMPACT),
        generation_config="vllm",  # only what a request says, no sampling defaults of the model
        disable_log_stats=True,
    )
    config = args.create_engine_config()
    executor = WATCHED.get(Executor.get_class(config), Executor.get_class(config))
    engine = AsyncLLM(config, executor, log_stats=False, log_requests=False)
    atexit.register(_end, engine)
    sees = config.model_config.is_multimodal_model
    where: dict[str, Any] = {"revision": settings.revision or "main", "local_files_only": folder is not None}
    processor = (AutoProcessor if sees else AutoTokenizer).from_pretrained(name, **where)
    ends = config.model_config.try_get_generation_config().get("eos_token_id")
    lora = LoRARequest("adapter", 1, str(adapter[0])) if adapter else None
    return Vllm(engine, processor, sees, ends if isinstance(ends, list) else [ends], lora)


class Vllm:
    """The engine; made by :func:`load`. ``sees`` says whether the model takes images; ``ends`` are its end tokens."""

    def __init__(
        self, engine: AsyncLLM, processor: Any, sees: bool, ends: Sequence[int | None], lora: LoRARequest | None = None
    ) -> None:
        self._engine, self._processor, self._lora = engine, processor, lora
        self._tokenizer = processor.tokenizer if sees else processor
        self._tokenizer.model_max_length = 2**62  # the engine checks the limit, once the image is counted too
        self._ends = sorted({token for token in [*ends, self._tokenizer.eos_token_id] if token is not None})
        self._writer = template.PromptWriter(processor, sees)
        self._names = itertools.count()

    def hook_prompt(self) -> str:
        """The chat template with a user turn that holds one image, cut exactly after the image (Oasis)."""
        return self._writer.hook_prompt()

    async def generate(self, request: Request) -> Completion:
        """Serve one request. Raises ``ValueError`` for one that vLLM refuses, and :class:`EngineDied`."""
        prompt = self._writer.prompt(request)
        if request.choices is not None:
            return await self._choose(prompt, request)
        output = await self._run(prompt, request.images, self._params(request))
        return Completion.joined([self._completion(output, reply, request) for reply in output.outputs])

    async def _run(self, prompt: str, images: Sequence[Image], params: SamplingParams) -> Any:
        """What vLLM returns for a prompt, once it is finished."""
        text: dict[str, Any] = {"prompt": prompt}
        if images:
            text["multi_modal_data"] = {"image": list(images)}
        name = f"request-{next(self._names)}"
        tokens = {"add_special_tokens": self._adds(prompt)}
        output = None
        try:
            async for output in self._engine.generate(  # noqa: B007
                text, params, name, lora_request=self._lora, tokenization_kwargs=tokens
            ):
                pass
        except EngineDeadError as error:
            raise EngineDied(f"vLLM's engine has died: {error}") from error
        except (VLLMClientError, EngineGenerateError) as error:
            cause = error.__cause__ or error
            if self._engine.errored:
                raise EngineDied(f"vLLM's engine has died: {cause}") from error
            raise ValueError(
                f"vLLM refuses the request: {type(cause).__name__}: {cause}; shorten the text, shrink the image, or "
                "raise max_model_len as far as the model goes"
            ) from error
        assert output is not None
        for reply in output.outputs:
            if reply.finish_reason not in ("stop", "length"):
                raise RuntimeError(f"vLLM gave the request up: {reply.finish_reason}")
        return output

    def _params(self, request: Request) -> SamplingParams:
        sampling, bounds = request.sampling, None
        if request.schema is not None or request.pattern is not None:
            schema = None if request.schema is None else dict(request.schema)
            bounds = StructuredOutputsParams(json=schema, regex=request.pattern)
        return SamplingParams(
            n=sampling.n,
            structured_outputs=bounds,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            min_tokens=min(sampling.min_tokens, sampling.max_tokens),
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            stop=list(sampling.stop),
            stop_token_ids=self._ends,
            seed=sampling.seed % 2**63,
            logprobs=sampling.logprobs,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, output: Any, reply: Any, request: Request) -> Completion:
        asked = request.sampling.logprobs
        drawn = top = None
        if asked is not None:
            pairs = list(zip(reply.token_ids, reply.logprobs, strict=True))
            drawn = tuple(step[token].logprob for token, step in pairs)
            top = tuple(
                {self._decode([token]): one.logprob for token, one in step.items() if one.rank <= asked}
                for _, step in pairs
            )
        count = len(output.prompt_token_ids)
        return Completion(reply.text, count, len(reply.token_ids), reply.finish_reason, drawn, top)

    async def _choose(self, prompt: str, request: Request) -> Completion:
        """The drawn choice. Each is scored as a whole; where all are one token long, by one forward pass together."""
        choices = request.choices or ()
        bare = self._tokens(prompt)
        texts = [self._tokens(prompt + choice) for choice in closed(choices, self._tokenizer.eos_token)]
        tails = [len(text) - shared(bare, text) for text in texts]
        lone = all(tail == 1 and len(text) == len(bare) + 1 for tail, text in zip(tails, texts, strict=True))
        scored = await self._next(prompt, request.images, [text[-1] for text in texts]) if lone else None
        if scored is None:
            params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
            ends = closed(choices, self._tokenizer.eos_token)
            outputs = await asyncio.gather(*(self._run(prompt + end, request.images, params) for end in ends))
            totals = [_tail(output, tail) for output, tail in zip(outputs, tails, strict=True)]
            scored = totals, len(outputs[0].prompt_token_ids) - len(texts[0]) + len(bare)
        totals, count = scored
        scores = dict(zip(choices, totals, strict=True))
        drawn = [draw_choice(totals, sampling) for sampling in request.sampling.each()]
        lengths = [len(text) - len(bare) for text in texts]
        return Completion.joined(
            [Completion(choices[best], count, lengths[best], "stop", choice_logprobs=scores) for best in drawn]
        )

    async def _next(
        self, prompt: str, images: Sequence[Image], tokens: Sequence[int]
    ) -> tuple[list[float], int] | None:
        """Log-probabilities of the ``tokens`` after a prompt and its length; None if one is not among the best."""
        params = SamplingParams(max_tokens=1, temperature=0, logprobs=MAX_LOGPROBS, detokenize=False)
        output = await self._run(prompt, images, params)
        step = output.outputs[0].logprobs[0]
        if any(token not in step for token in tokens):
            return None
        return [step[token].logprob for token in tokens], len(output.prompt_token_ids)

    def _tokens(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=self._adds(text)).input_ids

    def _adds(self, prompt: str) -> bool:
        """Whether the tokenizer must add the beginning that a prompt does not bring."""
        bos = self._tokenizer.bos_token
        return not (bos and prompt.startswith(bos))

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _end(engine: AsyncLLM) -> None:
    """End the engine's processes; first what listens to them, which would take their end for a fault."""
    if engine.output_handler is not None:
        cancel_task_threadsafe(engine.output_handler)
    engine.shutdown()


def _tail(output: Any, count: int) -> float:
    """Log-probability (nats) of the last ``count`` tokens of a prompt."""
    steps = zip(output.prompt_token_ids[-count:], output.prompt_logprobs[-count:], strict=True)
    return sum(step[token].logprob for token, step in steps)
