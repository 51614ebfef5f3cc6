"""Speed of a training step: gouache's U-Net and loop beside diffusers' network of equal size.

    python benchmarks/train_step.py [--batch 64] [--rounds 5]

Rows, timed in turn, a burst of steps each, best burst of all rounds:

- gouache, as `digits_diffusion` ships (bf16 where the processor has it) and in float32, through
  `gouache.train.fit`, everything included: data, keyed noise, EMA, clipping, the loop itself;
- diffusers' `UNet2DModel` of as many parameters in its usual loop, float32 and under bf16 autocast.

The ceiling is what `torch.mm` does on this machine with matrices of 1024; a row's rate is the
operations of its convolutions and products (counted by `FlopCounterMode`, forward and backward)
over its time. Below, where a step of ours goes, from the profiler.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # a busy machine slows both sides alike

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from gouache import data, recipes, train

BURST = 20


def ours(precision: str, batch: int) -> Iterator[object]:
    """Yield after every step of the recipe."""
    plan = recipes.digits_diffusion()
    config = dataclasses.replace(plan.train, steps=10**6, batch=batch, precision=precision)
    yield from train.fit(plan.build(), plan.dataset, config)


def peer(autocast: bool, batch: int) -> Iterator[object]:
    """Yield after every step of the usual loop around diffusers' network."""
    from diffusers import DDPMScheduler

    network = peer_network()
    schedule = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    average = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    dataset = data.digits("train")
    images, labels = dataset.all() * 2 - 1, dataset.labels
    assert labels is not None
    while True:
        index = torch.randint(0, len(images), (batch,))
        t, noise = torch.randint(0, 1000, (batch,)), torch.randn(batch, 1, 8, 8)
        noisy = schedule.add_noise(images[index], noise, t)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            predicted = network(noisy, t, class_labels=labels[index]).sample
        optimizer.zero_grad()
        F.mse_loss(predicted.float(), noise).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(average, network.parameters(), strict=True):
                mine.lerp_(theirs, 0.01)
        yield None


def peer_network() -> nn.Module:
    """Return the UNet2DModel of about as many parameters as ours."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(24, 48),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=11,
    )


def operations(run: Callable[[], torch.Tensor]) -> float:
    """Count the multiply-adds, times two, of a forward and backward pass."""
    with FlopCounterMode(display=False) as counter:
        run().backward()
    return counter.get_total_flops()


def counted(batch: int) -> tuple[float, float]:
    """Return the operations of a step of ours and of the peer's."""
    network, other = recipes.digits_diffusion().build(), peer_network()
    core = network.get_submodule("core").network
    x, label = torch.randn(batch, 1, 8, 8), torch.zeros(batch, dtype=torch.long)
    mine = operations(lambda: core(x, torch.zeros(batch), {"label": label}).square().mean())
    theirs = operations(lambda: other(x, torch.zeros(batch), class_labels=label).sample.mean())
    return mine, theirs


def ceiling(dtype: torch.dtype) -> float:
    """Return the operations a second of a product of two matrices of 1024."""
    a = torch.randn(1024, 1024, dtype=dtype)
    best = min(_clock(lambda: a @ a) for _ in range(30))
    return 2 * 1024**3 / best


def _clock(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def burst(steps: Iterator[object]) -> float:
    """Return seconds a step over one burst."""
    return _clock(lambda: [next(steps) for _ in range(BURST)]) / BURST


def profile(batch: int) -> None:
    """Print where a step of ours goes."""
    steps = ours("auto", batch)
    for _ in range(5):
        next(steps)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        for _ in range(BURST):
            next(steps)
    events = record.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    groups = {
        "convolutions": ("convolution", "conv"),
        "norms": ("group_norm", "batch_norm"),
        "products": ("mm", "addmm", "bmm", "matmul", "linear"),
        "optimizer, clip, average": ("adamw", "optimizer", "foreach", "lerp", "vector_norm"),
        "casts and copies": ("copy", "to_copy", "aten::to"),
        "silu and other pointwise": ("silu", "mul", "add", "div", "cat", "sum", "square", "pow"),
    }
    shares = dict.fromkeys([*groups, "the rest (Python, views, noise)"], 0.0)
    for event in events:
        key = event.key.lower()
        name = next((g for g, words in groups.items() if any(w in key for w in words)), None)
        shares[name or "the rest (Python, views, noise)"] += event.self_cpu_time_total / total
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {share:5.1%}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    batch = arguments.batch
    size = sum(p.numel() for p in recipes.digits_diffusion().build().parameters())
    other = sum(p.numel() for p in peer_network().parameters())
    print(f"parameters: gouache {size}, diffusers {other}; batch {batch}")
    mine, theirs = counted(batch)
    ceilings = {name: ceiling(getattr(torch, name)) for name in ("float32", "bfloat16")}
    for name, rate in ceilings.items():
        print(f"ceiling {name}: {rate / 1e9:.0f} GFLOP/s")
    rows = {
        "gouache auto": (ours("auto", batch), mine),
        "gouache float32": (ours("32", batch), mine),
        "diffusers float32": (peer(False, batch), theirs),
        "diffusers bf16": (peer(True, batch), theirs),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(arguments.rounds + 1):
        for name, (steps, _) in rows.items():
            times[name].append(burst(steps))
    times = {name: found[1:] for name, found in times.items()}  # the first burst warms up
    print("row                 ms/step   images/s   GFLOP/step   GFLOP/s")
    for name, (_, flops) in rows.items():
        best = min(times[name])
        print(
            f"{name:19s} {1e3 * best:7.1f} {batch / best:10.0f} {flops / 1e9:12.2f} "
            f"{flops / best / 1e9:9.0f}"
        )
    ratio = min(times["diffusers float32"]) / min(times["gouache auto"])
    print(f"gouache does {ratio:.2f} times the images a second of diffusers' network")
    print("where a step of ours goes:")
    profile(batch)


if __name__ == "__main__":
    main()
