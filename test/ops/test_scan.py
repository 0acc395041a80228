"""Every back end, dtype, group count and odd size against the float64 reference, and that against numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops

# largest error over the largest value; half precision is rounded once, at the end
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}
BACKENDS = ["cpu", "reference"]
Case = tuple[Callable[..., Tensor], list[Tensor]]


def need(backend: str) -> None:
    if backend not in ops.backends():
        pytest.skip(f"back end {backend} is not built here")


def rand(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def scan_case(batch: int, groups: int, channels: int, state: int, length: int) -> Case:
    g = torch.Generator().manual_seed(length)
    d = groups * channels
    inputs = [
        rand(batch, d, length, generator=g),
        rand(batch, d, length, generator=g) - 2,
        -torch.exp(rand(d, state, generator=g)),
        rand(batch, groups, state, length, generator=g),
        rand(batch, groups, state, length, generator=g),
        rand(d, generator=g),
        rand(d, generator=g),
    ]
    return lambda *a, **k: ops.selective_scan(*a, delta_softplus=True, **k), inputs


def weights(directions: int, channels: int, state: int, rank: int, g: torch.Generator) -> list[Tensor]:
    return [
        rand(directions, rank + 2 * state, channels, generator=g) / channels**0.5,
        rand(directions, channels, rank, generator=g) / max(rank, 1) ** 0.5,
        rand(directions, channels, generator=g) - 2,
        -torch.exp(rand(directions * channels, state, generator=g)),
        rand(directions * channels, generator=g),
    ]


def map_case(batch: int, height: int, width: int, channels: int, state: int, rank: int) -> Case:
    g = torch.Generator().manual_seed(height)
    x = rand(batch, height, width, channels, generator=g)
    return ops.ss2d, [x, *weights(4, channels, state, rank, g)]


def sequence_case(batch: int, channels: int, length: int, state: int, rank: int) -> Case:
    g = torch.Generator().manual_seed(length)
    x = rand(batch, channels, length, generator=g)
    return ops.bidirectional_scan, [x, *weights(2, channels, state, rank, g)]


CASES: dict[str, Case] = {
    **{
        f"scan-{'-'.join(map(str, shape))}": scan_case(*shape)
        for shape in (
            (1, 1, 1, 1, 1),  # batch, groups, channels, state, length
            (2, 1, 16, 1, 64),
            (1, 2, 17, 4, 65),
            (2, 4, 3, 16, 63),
            (1, 1, 50, 5, 129),
            (3, 2, 31, 2, 7),
            (1, 3, 8, 17, 200),
            (1, 4, 33, 1, 300),
        )
    },
    **{
        f"ss2d-{'-'.join(map(str, shape))}": map_case(*shape)
        for shape in (
            (1, 1, 1, 1, 1, 1),  # batch, height, width, channels, state, rank
            (2, 7, 9, 20, 4, 3),
            (1, 12, 11, 33, 16, 4),
            (1, 1, 70, 16, 1, 2),
            (2, 65, 2, 5, 3, 9),
        )
    },
    **{
        f"bidirectional-{'-'.join(map(str, shape))}": sequence_case(*shape)
        for shape in (
            (1, 1, 1, 1, 1),  # batch, channels, length, state, rank
            (2, 35, 70, 16, 5),
            (1, 16, 64, 1, 2),
            (3, 7, 129, 4, 11),
        )
    },
}


def error(got: Tensor, wanted: Tensor) -> float:
    exact = wanted.detach().double()
    return float((got.detach().double() - exact).abs().max() / exact.abs().max().clamp_min(1e-3))


def run_float64(name: str, inputs: list[Tensor]) -> Tensor:
    return CASES[name][0](*(v.double() for v in inputs), backend="reference")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_every_backend_agrees_with_the_float64_reference(name: str, backend: str, dtype: torch.dtype) -> None:
    need(backend)
    inputs = [v.to(dtype) for v in CASES[name][1]]
    y = CASES[name][0](*inputs, backend=backend)
    assert y.dtype == dtype
    assert y.is_contiguous()
    assert error(y, run_float64(name, inputs)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_every_gradient_agrees_with_float64(name: str, backend: str, dtype: torch.dtype) -> None:
    need(backend)
    inputs = [v.to(dtype).requires_grad_() for v in CASES[name][1]]
    y = CASES[name][0](*inputs, backend=backend)
    exact = [v.detach().double().requires_grad_() for v in inputs]
    wanted = run_float64(name, exact)
    gy = torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    got = torch.autograd.grad(y, inputs, gy)
    for g, w in zip(got, torch.autograd.grad(wanted, exact, gy.double()), strict=True):
        assert error(g, w) < 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("name", ["scan-2-4-3-16-63", "ss2d-2-7-9-20-4-3", "bidirectional-3-7-129-4-11"])
def test_float32_weights_beside_half_precision_maps(name: str) -> None:
    """Autocast passes such inputs."""
    function, inputs = CASES[name]
    parameters = (2, 5, 6) if name.startswith("scan") else range(1, 6)
    mixed = [v.to(torch.float32 if i in parameters else torch.bfloat16) for i, v in enumerate(inputs)]
    y = function(*mixed)
    assert y.dtype == torch.bfloat16
    assert error(y, run_float64(name, mixed)) < TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_worked_by_hand(backend: str) -> None:
    """Two steps, one channel, one state: decay 1/2 and 1/4, inputs 1 and 2."""
    need(backend)
    one = torch.ones(1, 1, 1)
    u = torch.tensor([[[1.0, 2.0]]])
    delta = torch.tensor([[[1.0, 2.0]]])
    A = torch.tensor([[-math.log(2.0)]])
    B = torch.tensor([[[[3.0, 5.0]]]])
    C = torch.tensor([[[[1.0, 7.0]]]])
    # h1 = 1*3*1 = 3; h2 = 3/4 + 2*5*2 = 20.75; y = C h + 10 u
    wanted = torch.tensor([[[3.0 + 10.0, 7 * 20.75 + 20.0]]])
    y = ops.selective_scan(u, delta, A, B, C, D=torch.tensor([10.0]), backend=backend)
    torch.testing.assert_close(y, wanted)
    # without D; with a bias that makes both steps twice as long
    y = ops.selective_scan(u, delta - 1, A, B, C, delta_bias=one[0, 0], backend=backend)
    torch.testing.assert_close(y, wanted - 10 * u)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_four_directions_by_hand(backend: str) -> None:
    """Steps so long that nothing is remembered but the input itself: y = sum over directions of B C x dt."""
    need(backend)
    x = torch.arange(1.0, 7.0).reshape(1, 2, 3, 1)
    x_proj = torch.zeros(4, 3, 1)
    x_proj[:, 1:] = 1.0  # B = C = x, the step size comes from the bias alone
    bias = torch.full((4, 1), 30.0)
    A = torch.full((4, 1), -100.0)
    y = ops.ss2d(x, x_proj, torch.zeros(4, 1, 1), bias, A, torch.zeros(4), backend=backend)
    torch.testing.assert_close(y, 4 * 30.0 * x**3)
    # without decay, and with x = B = C = 1, each direction counts what it has passed
    x = torch.ones_like(x)
    y = ops.ss2d(x, x_proj, torch.zeros(4, 1, 1), bias, A * 0, torch.zeros(4), backend=backend)
    rows = torch.tensor([[1, 2, 3], [4, 5, 6]])
    columns = torch.tensor([[1, 3, 5], [2, 4, 6]])
    passed = rows + columns + (7 - rows) + (7 - columns)
    torch.testing.assert_close(y[0, :, :, 0], 30.0 * passed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_second_direction_stays_in_scan_order(backend: str) -> None:
    need(backend)
    x_proj = torch.zeros(2, 3, 1)
    x_proj[:, 1:] = 1.0
    A, D = torch.zeros(2, 1), torch.tensor([0.0, 1.0])
    x = torch.tensor([[[1.0, 1.0, 1.0, 2.0]]])
    bias = torch.full((2, 1), 30.0)
    y = ops.bidirectional_scan(x, x_proj, torch.zeros(2, 1, 1), bias, A, D, backend=backend)
    torch.testing.assert_close(y[0, 0, 0], torch.tensor([30.0, 60.0, 90.0, 2 * 210.0]))
    torch.testing.assert_close(y[0, 1, 0], torch.tensor([2 * 120.0 + 2, 150.0 + 1, 180.0 + 1, 210.0 + 1]))
