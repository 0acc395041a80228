"""Every back end for CUDA tensors against the float64 reference. Written without a GPU: not run yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mambaseg_core import Events, ops, voxel_grid
from mambaseg_core.ops import selection

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]

# exponentials are the card's approximate ones; matrix products are float32 (TF32 is off by default in torch)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
BACKENDS = ("triton", "mamba_ssm", "reference")
SCANS = [(1, 1, 1, 1, 1), (1, 4, 96, 1, 1000), (2, 2, 33, 16, 333), (1, 1, 50, 4, 129), (1, 1, 3, 4, 38_400)]
MAPS = [(1, 1, 1, 1, 1, 1), (1, 50, 87, 192, 1, 12), (2, 7, 9, 20, 4, 3), (1, 12, 11, 33, 16, 4)]
SEQUENCES = [(1, 1, 1, 1, 1), (1, 350, 192, 1, 22), (2, 35, 70, 16, 5), (3, 7, 129, 4, 11)]
Case = tuple[Callable[..., Tensor], list[Tensor]]


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, device="cuda")


def weights(directions: int, channels: int, state: int, rank: int) -> list[Tensor]:
    return [
        rand(directions, rank + 2 * state, channels) / channels**0.5,
        rand(directions, channels, rank) / rank**0.5,
        rand(directions, channels) - 2,
        -torch.exp(rand(directions * channels, state)),
        rand(directions * channels),
    ]


def soft_scan(*inputs: Tensor, **options: Any) -> Tensor:
    return ops.selective_scan(*inputs, delta_softplus=True, **options)


def make(op: str, shape: tuple[int, ...]) -> Case:
    torch.manual_seed(sum(shape))
    if op == "scan":
        batch, groups, channels, state, length = shape
        d, rows = groups * channels, (batch, groups, state, length)
        u, delta = rand(batch, d, length), rand(batch, d, length) - 2
        return soft_scan, [u, delta, -torch.exp(rand(d, state)), rand(*rows), rand(*rows), rand(d), rand(d)]
    if op == "ss2d":
        batch, height, width, channels, state, rank = shape
        return ops.ss2d, [rand(batch, height, width, channels), *weights(4, channels, state, rank)]
    batch, channels, length, state, rank = shape
    return ops.bidirectional_scan, [rand(batch, channels, length), *weights(2, channels, state, rank)]


CASES = [("scan", s) for s in SCANS] + [("ss2d", s) for s in MAPS] + [("bidirectional", s) for s in SEQUENCES]


def need(backend: str, dtype: torch.dtype = torch.float32) -> None:
    if backend not in ops.backends():
        pytest.skip(f"back end {backend}: {selection._missing(backend)}")
    if backend == "mamba_ssm" and dtype == torch.float64:
        pytest.skip("mamba_ssm has no float64")


def error(got: Tensor, wanted: Tensor) -> float:
    exact = wanted.detach().double()
    return float((got.detach().double() - exact).abs().max() / exact.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("op", "shape"), CASES, ids=str)
def test_values_and_gradients(op: str, shape: tuple[int, ...], backend: str, dtype: torch.dtype) -> None:
    need(backend, dtype)
    function, values = make(op, shape)
    inputs = [v.to(dtype).requires_grad_() for v in values]
    exact = [v.detach().double().requires_grad_() for v in inputs]
    y, wanted = function(*inputs, backend=backend), function(*exact, backend="reference")
    assert y.dtype == dtype
    assert error(y, wanted) < TOLERANCE[dtype]
    gy = torch.randn_like(y)
    for g, w in zip(torch.autograd.grad(y, inputs, gy), torch.autograd.grad(wanted, exact, gy.double()), strict=True):
        assert error(g, w) < 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("op", "shape"), CASES, ids=str)
def test_half_precision_without_gradients_is_read_as_it_is(op: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    need("triton")
    function, values = make(op, shape)
    inputs = [v.to(dtype) for v in values]
    wanted = function(*inputs, backend="triton")  # casts to float32 first
    with torch.inference_mode():
        y = function(*inputs, backend="triton")
    assert y.dtype == dtype
    assert error(y, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize(("op", "shape"), [CASES[1], CASES[6], CASES[10]], ids=str)
def test_a_second_run_gives_the_same_bits(op: str, shape: tuple[int, ...]) -> None:
    """The kernels have no atomic sums."""
    need("triton")
    function, inputs = make(op, shape)
    leaves = [v.float().requires_grad_() for v in inputs]
    runs = []
    for _ in range(3):
        y = function(*leaves, backend="triton")
        runs.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize(("op", "shape"), [CASES[1], CASES[6], CASES[10]], ids=str)
def test_a_cuda_graph_replays_it(op: str, shape: tuple[int, ...]) -> None:
    need("triton")
    function, inputs = make(op, shape)
    given = [v.float() for v in inputs]
    with torch.inference_mode():
        function(*given, backend="triton")  # compiles
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = function(*given, backend="triton")
        given[0].copy_(given[0] * 0.5)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(y, function(*given, backend="triton"))


def test_values_that_are_not_finite_do_not_hang() -> None:
    need("triton")
    function, inputs = make(*CASES[6])
    x, *rest = [v.float() for v in inputs]
    for value in (float("nan"), float("inf"), -float("inf")):
        spoiled = torch.cat((x, x))
        spoiled[0, 3, 5, 7] = value
        y = function(spoiled, *rest, backend="triton")
        assert not y[0].isfinite().all()
        assert y[1].isfinite().all()


def test_slow_decays_do_not_drift() -> None:
    """A step so small that the decay is nearly 1, 4096 times over: an exp with a bias would show."""
    need("triton")
    length = 4096
    one, steps = torch.ones(1, 16, length, device="cuda"), torch.full((1, 16, length), 1e-4, device="cuda")
    given = (one, steps, -one[0, :, :1], one[:, None, :1], one[:, None, :1])
    y = ops.selective_scan(*given, backend="triton")
    wanted = ops.selective_scan(*(v.double() for v in given), backend="reference")
    assert float(((y - wanted) / wanted).abs().max()) < length * 2.0**-24


def test_the_default_on_cuda() -> None:
    need("triton")
    assert selection.choose("cuda", None) == "triton"
    assert ops.backends()[-1] == "reference"
    with pytest.raises(ValueError, match="'triton' takes tensors on CUDA, these are on cpu"):
        selection.choose("cpu", "triton")


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("backend", ["triton", "reference"])
def test_voxel_grid(mode: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend not in ops.backends():
        pytest.skip(f"{backend} does not work here")
    monkeypatch.setenv("MAMBASEG_BACKEND", backend)
    rng, n = np.random.default_rng(0), 100_000
    x, y, t, p = (rng.integers(0, high, n) for high in (640, 480, 10**8, 2))
    events = Events.from_arrays(x, y, np.sort(t) + 10**18, p, height=480, width=640)
    out = torch.full((10, 480, 640), torch.nan, device="cuda")
    assert voxel_grid(events, mode=mode, out=out) is out
    torch.testing.assert_close(out.cpu(), voxel_grid(events, mode=mode), rtol=1e-5, atol=1e-5)
