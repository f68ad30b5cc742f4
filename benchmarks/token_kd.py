"""Distillation of words over a large vocabulary: memory and time with dense logits and with a head applied in chunks.

    python -m benchmarks.token_kd [--peers FOLDER] [--rounds 3] [--sizes 512x64 512x896]

First table: row functions on dense logits beside those of other projects, in one process, alternating; and how far
values and gradients are apart. FOLDER is where
`pip install --no-deps --target FOLDER trl==1.16.0 liger-kernel==0.8.5 torchtune==0.6.1` put them; what is absent is
left out with a note. Their files are read one by one, so that nothing else of theirs is needed.
Then for each size a step (forward and backward, float32, one thread) of the forward divergence from hidden states and
heads of both models. Each arm has a process of its own; its memory is the peak above what it held before the step.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import print_table
from potstill.models.losses.chunked import linear_sum
from potstill.models.losses.logits import Hidden
from potstill.models.losses.token_kl import TokenKl

VOCABULARY = 151_936
"""Of Qwen 2.5."""
ARMS = ("dense", "chunked", "Liger, 32 rows", "Liger, 1024 rows")


def models(tokens: int, width: int, words: int = VOCABULARY) -> tuple[Hidden, Hidden]:
    """A student that learns and a teacher of the same width."""
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    student, teacher = (Hidden(draw(tokens, width), draw(words, width) / width**0.5) for _ in range(2))
    student.h.requires_grad_()
    student.weight.requires_grad_()
    return student, teacher


def step(arm: str, student: Hidden, teacher: Hidden, peers: str | None) -> Tensor:
    """Mean divergence, with its gradients in ``student``."""
    tokens = len(student.h)
    if arm == "dense":
        value = TokenKl().rows(student.dense(), teacher.dense()).sum() / tokens
    elif arm == "chunked":
        value = linear_sum(TokenKl().rows, student, teacher) / tokens
    else:
        sys.path.append(str(peers))
        from liger_kernel.chunked_loss.jsd_loss import LigerFusedLinearJSDLoss  # pyright: ignore

        chunk = int(arm.split()[1])
        loss = LigerFusedLinearJSDLoss(0.0, 1.0, beta=0.0, compiled=False, chunk_size=chunk)
        words = torch.zeros(tokens, dtype=torch.long)
        value = loss(student.h, student.weight, teacher.h, teacher.weight, words)
    value.backward()
    return value.detach()


def measure(arm: str, tokens: int, width: int, peers: str | None) -> dict[str, float]:
    """Peak MiB above the inputs in a first step, processor seconds of a second one, and the value."""
    student, teacher = models(tokens, width)
    # What libraries keep after their first use is not a step's memory.
    step(arm, *models(8, width, 1000), peers)
    before = resident("VmRSS")
    value = step(arm, student, teacher, peers)
    peak = resident("VmHWM")
    student.h.grad = student.weight.grad = None
    took = processor(lambda: step(arm, student, teacher, peers))
    return {"mib": peak - before, "seconds": took, "value": value.item()}


def heads(size: str, peers: str | None, rounds: int) -> None:
    """A table of all arms at one size."""
    tokens, width = map(int, size.split("x"))
    arms = [arm for arm in ARMS if not arm.startswith("Liger") or (peers and Path(peers, "liger_kernel").is_dir())]
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    for _ in range(rounds):
        for arm in arms:
            command = [sys.executable, "-m", "benchmarks.token_kd", "--arm", arm, "--sizes", size]
            done = subprocess.run([*command, *(["--peers", peers] if peers else [])], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{arm} at {size} ended with {done.stderr[-500:]}")
            found[arm].append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    dense = {key: statistics.median(run[key] for run in found["dense"]) for key in ("mib", "seconds", "value")}
    for arm, runs in found.items():
        mib, took = (statistics.median(run[key] for run in runs) for key in ("mib", "seconds"))
        off = abs(runs[0]["value"] / dense["value"] - 1)
        rows.append((tokens, width, arm, mib, mib / dense["mib"], took, took / dense["seconds"], off))
    print_table(("tokens", "width", "arm", "MiB", "of dense", "seconds", "of dense", "value off by"), rows)


def others(peers: str | None) -> Mapping[str, tuple[TokenKl, Callable[[Tensor, Tensor], Tensor], bool]]:
    """By name: our settings, another project's mean over rows, and whether that leaves out the teacher's entropy."""
    found: dict[str, tuple[TokenKl, Callable[[Tensor, Tensor], Tensor], bool]] = {}
    trl, tune = (Path(peers or "", *path.split("/")) for path in (
        "trl/experimental/gkd/gkd_trainer.py", "torchtune/modules/loss/kd_losses.py"))  # fmt: skip
    if peers and trl.is_file():
        tree = ast.parse(trl.read_text())
        function = next(x for x in ast.walk(tree) if getattr(x, "name", "") == "generalized_jsd_loss")
        function.decorator_list = []  # pyright: ignore
        names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
        exec(compile(ast.unparse(function), str(trl), "exec"), names)
        jsd = names["generalized_jsd_loss"]
        found["TRL, forward"] = TokenKl(), lambda s, t: jsd(s, t, beta=0), False
        found["TRL, reverse"] = TokenKl(divergence="reverse"), lambda s, t: jsd(s, t, beta=1), False
        found["TRL, jsd 0.5"] = TokenKl(divergence="jsd"), lambda s, t: jsd(s, t, beta=0.5), False
        found["TRL, jsd 0.1"] = TokenKl(divergence="jsd", teacher_mix=0.1), lambda s, t: jsd(s, t, beta=0.1), False
    if peers and tune.is_file():
        spec = importlib.util.spec_from_file_location("kd_losses", tune)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def tuned(loss: Any) -> Callable[[Tensor, Tensor], Tensor]:
            return lambda s, t: loss(s, t, torch.zeros(len(s), dtype=torch.long))

        found["torchtune, forward"] = TokenKl(), tuned(module.ForwardKLLoss()), True
        found["torchtune, reverse"] = TokenKl(divergence="reverse"), tuned(module.ReverseKLLoss()), False
    for name in ("trl", "torchtune", "liger_kernel"):
        if not (peers and Path(peers, name).is_dir()):
            print(f"{name} is left out: it is not in --peers {peers or ''}")
    return found


def rows_beside(peers: str | None, rounds: int, count: int = 32) -> None:
    """Row functions, ours and others'."""
    g = torch.Generator().manual_seed(1)
    student, teacher = (2 * torch.randn(count, VOCABULARY, generator=g) for _ in range(2))
    student.requires_grad_()
    logs = teacher.log_softmax(-1)
    entropy = -(logs.exp() * logs).sum(-1).mean()
    table = []
    for name, (settings, other, without) in others(peers).items():

        def ours(settings: TokenKl = settings) -> tuple[Tensor, Tensor]:
            value = settings.rows(student, teacher).mean()
            return value.detach(), torch.autograd.grad(value, student)[0]

        def theirs(other: Callable[[Tensor, Tensor], Tensor] = other) -> tuple[Tensor, Tensor]:
            value = other(student, teacher)
            return value.detach(), torch.autograd.grad(value, student)[0]

        (value, gradient), (value_too, gradient_too) = ours(), theirs()
        value_too = value_too - entropy if without else value_too
        times = [(processor(ours), processor(theirs)) for _ in range(4 * rounds)]
        mine, its = (statistics.median(column) for column in zip(*times, strict=True))
        off = (gradient - gradient_too).abs().max() / gradient_too.abs().max()
        table.append((name, 1e3 * mine, 1e3 * its, mine / its, abs(value.item() / value_too.item() - 1), off.item()))
    if table:
        print_table((f"{count} rows beside", "ms", "their ms", "ratio", "value off by", "gradient off by"), table)


def resident(field: str) -> float:
    """MiB of this process, from Linux; `ru_maxrss` would begin with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def processor(fn: Callable[[], Any]) -> float:
    """Processor seconds of one call, which say more than the clock where others work too."""
    began = time.process_time()
    fn()
    return time.process_time() - began


def main() -> None:
    """All tables, or one measurement of one arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["512x64", "512x896"])
    parser.add_argument("--arm", choices=ARMS, help="measure this alone, in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.arm:
        tokens, width = map(int, options.sizes[0].split("x"))
        print(json.dumps(measure(options.arm, tokens, width, options.peers)))
        return
    rows_beside(options.peers, options.rounds)
    for size in options.sizes:
        print(flush=True)
        heads(size, options.peers, options.rounds)


if __name__ == "__main__":
    main()
