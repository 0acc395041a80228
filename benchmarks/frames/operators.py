"""Time the fused operators beside torch's own sequence of the same layers, in turns, on one core.

    python benchmarks/frames/operators.py [--threads N] [--only WORDS] [--rounds N]

`MAMBASEG_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2` before it has all of
them use AVX2. Rows are layers of mambaseg_nano at 240x320 and mambaseg_ddd17 at 200x346. Times are the least of all
rounds in microseconds: wall time, and the processor's time of the process. Other load disturbs the least of many rounds
least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core.ops import fused, fused_maps

OPERATORS = torch.ops.mambaseg
Call = Callable[[], Any]
Row = tuple[str, Call, Call]  # name, torch's sequence, the fused operator


def linear(name: str, size: tuple[int, int], inputs: int, outputs: int, *, activation: int, residual: bool) -> Row:
    """Return a row of LayerNorm + Linear + activation + residual."""
    x, weight, bias = torch.randn(1, *size, inputs), torch.randn(outputs, inputs) / inputs**0.5, torch.randn(outputs)
    scale, shift, packed = torch.ones(inputs), torch.zeros(inputs), OPERATORS.pack_linear(weight)
    added = torch.randn(1, *size, outputs) if residual else None

    def plain() -> Tensor:
        y = fused.activate(F.linear(F.layer_norm(x, (inputs,), scale, shift), weight, bias), activation)
        return y if added is None else y + added

    def ours() -> Any:
        return OPERATORS.fused_linear(x, packed, bias, outputs, scale, shift, 1e-5, activation, added)

    return f"{name} linear {inputs}-{outputs} {size[0]}x{size[1]}", plain, ours


def mlp(name: str, size: tuple[int, int], channels: int, hidden: int) -> Row:
    """Return a row of the MLP branch: LayerNorm, Linear, GELU, Linear, residual."""
    x, scale, shift = torch.randn(1, *size, channels), torch.ones(channels), torch.zeros(channels)
    first, second = torch.randn(hidden, channels) / channels**0.5, torch.randn(channels, hidden) / hidden**0.5
    bias1, bias2 = torch.randn(hidden), torch.randn(channels)
    packed1, packed2 = OPERATORS.pack_linear(first), OPERATORS.pack_linear(second)

    def plain() -> Tensor:
        return x + F.linear(F.gelu(F.linear(F.layer_norm(x, (channels,), scale, shift), first, bias1)), second, bias2)

    def ours() -> Any:
        layers = (packed1, bias1, hidden, packed2, bias2)
        return OPERATORS.fused_mlp(x, scale, shift, 1e-5, *layers, fused.GELU, True)

    return f"{name} MLP {channels}-{hidden} {size[0]}x{size[1]}", plain, ours


def conv(name: str, size: tuple[int, int], inputs: int, outputs: int, *, activation: int, image: bool = False) -> Row:
    """Return a row of a 3x3 convolution of stride 2 + LayerNorm + activation; `image`: x comes channels first."""
    x = torch.randn(1, inputs, *size).permute(0, 2, 3, 1) if image else torch.randn(1, *size, inputs)
    weight, bias = torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5, torch.randn(outputs)
    scale, shift, packed = torch.ones(outputs), torch.zeros(outputs), OPERATORS.pack_conv3x3(weight)

    def plain() -> Tensor:
        y = F.conv2d(x.contiguous().permute(0, 3, 1, 2), weight, bias, 2, 1).permute(0, 2, 3, 1)
        return fused.activate(F.layer_norm(y, (outputs,), scale, shift), activation)

    def ours() -> Any:
        return OPERATORS.fused_conv3x3(x, packed, bias, outputs, 2, scale, shift, 1e-5, activation)

    return f"{name} conv {inputs}-{outputs} {size[0]}x{size[1]}", plain, ours


def on_maps(name: str, size: tuple[int, int], channels: int) -> Iterator[Row]:
    """Yield the rows of the operators on maps; torch's sequence is their plain form."""
    draw = torch.randn
    a, b, wide = draw(1, *size, channels), draw(1, *size, channels), draw(1, *size, 3 * channels)
    vector, scale = draw(channels), torch.rand(1, 1, 1, channels)
    attention = draw(channels // 8, 2 * channels), draw(2 * channels, channels // 8)
    arguments: dict[str, tuple[Any, ...]] = {
        "depthwise3x3": (a, draw(9, channels), None, fused.SILU),
        "norm_activation": (a, vector, vector, 1e-5, fused.NONE),
        "channel_attention": (a, b, *attention, fused.RELU),
        "region_means": (a, scale, 8, 8),
        "add_resized": (a, scale, draw(1, 8, 8, channels), fused.NONE),
        "three_weights": (a, b, draw(16, 6, 3, 3), draw(16), draw(3, 16, 1, 1), draw(3)),
        "spatial_attention": (wide[..., :channels], a, draw(1, 2, 7, 7)),
    }
    for operator, given in arguments.items():
        title = f"{name} {operator} {channels} {size[0]}x{size[1]}"
        yield title, partial(getattr(fused_maps, operator), *given), partial(getattr(OPERATORS, operator), *given)


def small() -> Iterator[Row]:
    """Yield the rows of the shared temporal scan's steps, and of the mask at the end."""
    a, b, logits = torch.randn(1, 8, 8, 128), torch.randn(1, 8, 8, 128), torch.randn(1, 60, 80, 11)
    scanned = torch.randn(64, 2, 16, 16)
    calls = (("interleave_steps", (a, b, 8)), ("merge_steps", (scanned,)), ("logits_to_mask", (logits, 240, 320)))
    for operator, given in calls:
        yield (
            f"nano {operator}",
            partial(getattr(fused_maps, operator), *given),
            partial(getattr(OPERATORS, operator), *given),
        )


def rows() -> Iterator[Row]:
    """Yield all rows: of the products those of the greatest share of a frame first, then those on maps."""
    for channels, size in ((32, (60, 80)), (64, (30, 40)), (128, (15, 20)), (192, (8, 10))):
        yield mlp("nano", size, channels, 2 * channels)
        yield linear("nano", size, channels, channels, activation=fused.NONE, residual=True)
    yield linear("nano", (60, 80), 64, 11, activation=fused.NONE, residual=False)
    yield conv("nano", (240, 320), 3, 16, activation=fused.GELU, image=True)
    yield conv("nano", (240, 320), 10, 16, activation=fused.GELU, image=True)
    for inputs, outputs, size in ((16, 32, (120, 160)), (32, 64, (60, 80)), (64, 128, (30, 40)), (128, 192, (15, 20))):
        yield conv("nano", size, inputs, outputs, activation=fused.NONE)
    for channels, size in ((96, (50, 87)), (192, (25, 44)), (384, (13, 22)), (768, (7, 11))):
        yield mlp("ddd17", size, channels, 4 * channels)
        yield linear("ddd17", size, channels, channels, activation=fused.NONE, residual=True)
    yield from small()
    for channels, size in ((32, (60, 80)), (64, (30, 40)), (128, (15, 20)), (192, (8, 10))):
        yield from on_maps("nano", size, channels)
    for channels, size in ((96, (50, 87)), (384, (13, 22))):
        yield from on_maps("ddd17", size, channels)


def least(call: Call, calls: int) -> tuple[float, float]:
    """Return the mean wall and processor time of some calls, microseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.perf_counter() - wall) / calls * 1e6, (time.process_time() - processor) / calls * 1e6


def main() -> None:
    """Print a line a row: both least times of both, and the ratio of the processor's times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="only rows whose name holds this text")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(
        f"{OPERATORS.vector_lanes()} lanes, {given.threads} threads, torch's {torch.backends.cpu.get_cpu_capability()}"
    )
    print(f"{'':36}{'torch: wall':>12}{'CPU':>9}{'fused: wall':>13}{'CPU':>9}{'ratio':>8}")
    with torch.inference_mode():
        for name, *calls in rows():
            if given.only not in name:
                continue
            best = [[float("inf")] * 2, [float("inf")] * 2]
            counts = [max(1, int(2_000 / least(call, 3)[0])) for call in calls]  # two milliseconds a turn
            for _ in range(given.rounds):
                for mine, call, count in zip(best, calls, counts, strict=True):
                    mine[:] = map(min, mine, least(call, count))
            (wall, processor), (our_wall, our_processor) = best
            print(
                f"{name:36}{wall:12.0f}{processor:9.0f}{our_wall:13.0f}{our_processor:9.0f}"
                f"{our_processor / processor:8.2f}"
            )


if __name__ == "__main__":
    main()
