"""The longest scans of Sigma, 38,400 steps (both maps of 480x640), of a few channels: kernels and reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops

LENGTH = 480 * 640 // 8
MAP = (160, 240)  # as long; neither side a multiple of the other
CHANNELS = 3
RANK = 2
# largest float32 error over the largest value; measured: 4e-6, and 5e-5 for sums over all steps
TOLERANCE = 1e-5
GRADIENTS = 2e-4
Case = tuple[Callable[..., Tensor], list[Tensor]]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def rates(channels: int, state: int) -> Tensor:
    """Return the initial rates of the networks, -1 to -N; one channel decays 100 times slower, in some 5,000 steps."""
    a = -torch.arange(1.0, state + 1, dtype=torch.float64).repeat(channels, 1)
    a[0] /= 100
    return a


def scan_of(directions: int, state: int) -> Case:
    d = directions * CHANNELS
    pair = drawn(2, 1, directions, state, LENGTH)
    inputs = [drawn(1, d, LENGTH), drawn(1, d, LENGTH) - 4, rates(d, state), *pair, drawn(d), drawn(d)]
    return lambda *a, **k: ops.selective_scan(*a, delta_softplus=True, **k), inputs


def weights(directions: int, state: int) -> list[Tensor]:
    return [
        drawn(directions, RANK + 2 * state, CHANNELS) / CHANNELS**0.5,
        drawn(directions, CHANNELS, RANK) / RANK**0.5,
        drawn(directions, CHANNELS) - 4,
        rates(directions * CHANNELS, state),
        drawn(directions * CHANNELS),
    ]


def map_of(state: int) -> Case:
    return ops.ss2d, [drawn(1, *MAP, CHANNELS), *weights(4, state)]


def sequence_of(state: int) -> Case:
    return ops.bidirectional_scan, [drawn(1, CHANNELS, LENGTH), *weights(2, state)]


CASES = {
    **{f"scan, K = {k}, N = {n}": scan_of(k, n) for k in (1, 2, 4) for n in (4, 16)},
    **{f"ss2d, K = 4, N = {n}": map_of(n) for n in (4, 16)},
    **{f"bidirectional, K = 2, N = {n}": sequence_of(n) for n in (4, 16)},
}


def error(got: Tensor, wanted: Tensor) -> float:
    return float((got.detach().double() - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_the_kernels_agree_with_the_reference_to_the_last_step(name: str) -> None:
    if "cpu" not in ops.backends():
        pytest.skip("back end cpu is not built here")
    scan, inputs = CASES[name]
    exact = [v.clone().requires_grad_() for v in inputs]
    single = [v.float().requires_grad_() for v in inputs]
    wanted, got = scan(*exact, backend="reference"), scan(*single, backend="cpu")
    assert got.numel() >= CHANNELS * LENGTH
    assert error(got, wanted.detach()) < TOLERANCE
    gy = drawn(*wanted.shape)
    found = torch.autograd.grad(got, single, gy.float())
    for place, (g, w) in enumerate(zip(found, torch.autograd.grad(wanted, exact, gy), strict=True)):
        assert error(g, w) < GRADIENTS, place
