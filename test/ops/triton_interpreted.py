"""The Triton kernels in Triton's interpreter against the float64 reference; `test_triton` runs this file.

It needs its own process: TRITON_INTERPRET=1 must be set before Triton is imported. Then the kernels replace the
compiled ones for CPU tensors. Sizes are small because a step of a channel takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from mambaseg_core import Events, ops
from mambaseg_core.ops import selection, triton_scan, triton_voxel
from mambaseg_core.ops.voxel_packed import pack_events, scatter_reference_

TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 1e-2}
Case = tuple[Callable[..., Tensor], list[Tensor]]


def rand(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=g)


def scan_case(batch: int, groups: int, channels: int, state: int, length: int) -> Case:
    g = torch.Generator().manual_seed(length)
    d, rows = groups * channels, (batch, groups, state, length)
    u, delta = rand(g, batch, d, length), rand(g, batch, d, length) - 2
    inputs = [u, delta, -torch.exp(rand(g, d, state)), rand(g, *rows), rand(g, *rows), rand(g, d), rand(g, d)]
    return lambda *a, **k: ops.selective_scan(*a, delta_softplus=True, **k), inputs


def weights(g: torch.Generator, directions: int, channels: int, state: int, rank: int) -> list[Tensor]:
    return [
        rand(g, directions, rank + 2 * state, channels) / channels**0.5,
        rand(g, directions, channels, rank) / max(rank, 1) ** 0.5,
        rand(g, directions, channels) - 2,
        -torch.exp(rand(g, directions * channels, state)),
        rand(g, directions * channels),
    ]


def map_case(batch: int, height: int, width: int, channels: int, state: int, rank: int) -> Case:
    g = torch.Generator().manual_seed(height)
    return ops.ss2d, [rand(g, batch, height, width, channels), *weights(g, 4, channels, state, rank)]


def sequence_case(batch: int, channels: int, length: int, state: int, rank: int) -> Case:
    g = torch.Generator().manual_seed(length)
    return ops.bidirectional_scan, [rand(g, batch, channels, length), *weights(g, 2, channels, state, rank)]


# tiles are 4 steps by 4 channels here: sizes below, at and above them, and more chunks than a tile of the chain
CASES: dict[str, Case] = {
    **{
        f"scan-{'-'.join(map(str, shape))}": scan_case(*shape)
        for shape in ((1, 1, 1, 1, 1), (2, 1, 3, 1, 21), (1, 2, 5, 4, 9), (1, 4, 2, 16, 6))
        # batch, groups, channels, state, length
    },
    **{
        f"ss2d-{'-'.join(map(str, shape))}": map_case(*shape)
        for shape in ((1, 1, 1, 1, 1, 1), (2, 3, 5, 3, 1, 2), (1, 2, 3, 5, 4, 1), (1, 6, 2, 2, 16, 3))
        # batch, height, width, channels, state, rank
    },
    **{
        f"bidirectional-{'-'.join(map(str, shape))}": sequence_case(*shape)
        for shape in ((1, 1, 1, 1, 1), (2, 5, 7, 1, 2), (1, 3, 9, 4, 3), (1, 2, 5, 16, 1))
        # batch, channels, length, state, rank
    },
}


def error(got: Tensor, wanted: Tensor) -> float:
    exact = wanted.detach()
    return float((got.detach().double() - exact).abs().max() / exact.abs().max().clamp_min(1e-3))


def check(name: str, dtype: torch.dtype) -> None:
    """Check the value and every gradient against float64."""
    function, values = CASES[name]
    inputs = [v.to(dtype).requires_grad_() for v in values]
    exact = [v.detach().double().requires_grad_() for v in inputs]
    y, wanted = function(*inputs, backend="triton"), function(*exact, backend="reference")
    assert y.dtype == dtype
    assert y.is_contiguous()
    assert error(y, wanted) < TOLERANCE[dtype]
    gy = torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    for g, w in zip(torch.autograd.grad(y, inputs, gy), torch.autograd.grad(wanted, exact, gy.double()), strict=True):
        assert error(g, w) < 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("name", CASES)
def test_float32_and_its_gradients(name: str) -> None:
    check(name, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["scan-2-1-3-1-21", "ss2d-1-2-3-5-4-1"])
def test_other_dtypes(name: str, dtype: torch.dtype) -> None:
    check(name, dtype)


@pytest.mark.parametrize("name", ["ss2d-1-2-3-5-4-1", "bidirectional-1-3-9-4-3"])
def test_half_precision_without_gradients_is_read_as_it_is(name: str) -> None:
    """With gradients, features are cast before the scan; digits are lost in neither case."""
    function, values = CASES[name]
    inputs = [v.bfloat16() for v in values]
    wanted = function(*inputs, backend="triton")
    with torch.no_grad(), mock.patch.object(triton_scan, "forward", wraps=triton_scan.forward) as forward:
        y = function(*inputs, backend="triton")
    assert forward.call_args.args[0].x.dtype == torch.bfloat16
    assert y.is_contiguous()
    assert torch.equal(y, wanted)


def test_every_output_is_written() -> None:
    """Fill fresh memory with NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        check("ss2d-1-2-3-5-4-1", torch.float32)
        check("scan-1-2-5-4-9", torch.float32)
    finally:
        torch.use_deterministic_algorithms(False)


def test_without_bias_skip_or_softplus_and_with_strides() -> None:
    u, delta, A, B, C, _, _ = CASES["scan-1-2-5-4-9"][1]
    inputs = [v.mT.contiguous().mT for v in (u, delta.exp(), A, B, C)]
    assert not inputs[0].is_contiguous()
    y = ops.selective_scan(*inputs, backend="triton")
    assert error(y, ops.selective_scan(*inputs, backend="reference")) < TOLERANCE[torch.float64]


def states_last(B: Tensor) -> Tensor:
    """Return the same values [B, K, N, L] in memory as [B, L, N, K]."""
    return B.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)


def test_inputs_in_any_layout() -> None:
    """Torch keeps the layout of its inputs in some results, and the kernels take one layout only."""
    function, (u, delta, A, B, C, D, bias) = CASES["scan-1-2-5-4-9"]
    given = [u, delta, A, states_last(B[:, :, :3]), states_last(C[:, :, :3]), D, bias]
    given[2] = A[:, :3].mT.contiguous().mT
    values = [v.float().requires_grad_() for v in given]
    exact = [v.detach().double().requires_grad_() for v in given]
    y, wanted = function(*values, backend="triton"), function(*exact, backend="reference")
    assert error(y, wanted) < TOLERANCE[torch.float32]
    gradients = torch.autograd.grad(y.sum(), values), torch.autograd.grad(wanted.sum(), exact)
    assert all(error(g, w) < 4 * TOLERANCE[torch.float32] for g, w in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ["ss2d-1-2-3-5-4-1", "bidirectional-1-3-9-4-3"])
def test_weights_in_any_layout(name: str) -> None:
    function, (x, proj, weight, bias, A, D) = CASES[name]
    bias = bias.repeat_interleave(2, 1)[:, ::2]
    given = [v.mT.contiguous().mT for v in (x, proj, weight)] + [bias, A.mT.contiguous().mT, D[:1].expand_as(D)]
    y, wanted = function(*given, backend="triton"), function(*given, backend="reference")
    assert error(y, wanted) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("case", [map_case(1, 2, 3, 5, 4, 0), sequence_case(1, 3, 9, 1, 0)], ids=["map", "sequence"])
def test_step_sizes_of_rank_0_are_the_bias(case: Case) -> None:
    function, inputs = case
    y, wanted = function(*inputs, backend="triton"), function(*inputs, backend="reference")
    assert error(y, wanted) < TOLERANCE[torch.float64]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 30.0, -10.0, -87.0])
def test_odd_step_sizes_as_the_reference_has_them(value: float) -> None:
    u, delta, *rest = (v.float() for v in CASES["scan-2-1-3-1-21"][1])
    u, delta = u[:1, :, :9], torch.full_like(delta[:1, :, :9], -2.0)
    rest = [rest[0], rest[1][:1, ..., :9], rest[2][:1, ..., :9], *rest[3:]]
    delta[0, 0, 6] = value
    got, wanted = (ops.selective_scan(u, delta, *rest, True, backend=b) for b in ("triton", "reference"))
    assert torch.equal(got.isfinite(), wanted.isfinite())
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_small_step_sizes_keep_their_digits() -> None:
    """softplus(-12) is 6e-6: log(1 + exp(-12)) in float32 has two digits of it."""
    one = torch.ones(1, 1, 1)
    for value in (-12.0, -4.0, -2.8, -2.7, 0.0, 5.0):
        y = ops.selective_scan(one, one * value, -one[0], one[None], one[None], None, None, True, backend="triton")
        exact = torch.nn.functional.softplus(torch.tensor(value, dtype=torch.float64))
        assert abs(float(y) / float(exact) - 1) < 1e-6  # exp2(x / ln 2) rounds its argument


def test_nothing_in_nothing_out() -> None:
    for name, index in (
        ("scan-1-2-5-4-9", (0, 1, 3, 4)),
        ("ss2d-2-3-5-3-1-2", (0,)),
        ("bidirectional-1-3-9-4-3", (0,)),
    ):
        function, values = CASES[name]
        inputs = [(v[:0] if i in index else v).clone().requires_grad_() for i, v in enumerate(values)]
        y = function(*inputs, backend="triton")
        assert y.shape[0] == 0
        assert all(not g.any() for g in torch.autograd.grad(y.sum(), inputs))


def test_the_choice_and_its_refusals() -> None:
    assert ops.backends() == ("triton", "reference")
    assert selection.choose("cpu", "triton") == "triton"
    with pytest.raises(
        ValueError, match="'cpu' does not work here: TRITON_INTERPRET=1 replaces it with Triton's interpreter"
    ):
        selection.choose("cpu", "cpu")
    with pytest.raises(ValueError, match="'mamba_ssm' does not work here: torch sees no CUDA device"):
        selection.choose("cpu", "mamba_ssm")


@pytest.mark.parametrize("bins", [1, 3, 10])
@pytest.mark.parametrize("n", [0, 1, 700])
def test_voxel_grid(bins: int, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y, t, p = (rng.integers(0, high, n) for high in (9, 7, 10**8, 2))
    events = Events.from_arrays(x, y, np.sort(t), p, height=7, width=9)
    packed = torch.from_numpy(pack_events(events, np.array([0, 10**8]), bins=bins, mode="bilinear"))
    got, wanted = torch.full((bins, 7, 9), torch.nan), torch.empty(bins, 7, 9)
    outside = torch.tensor([9, 7 << 16, 9 | 7 << 16, 0x7FFF << 16])  # beyond the width, the height, both, by far
    triton_voxel.scatter_(got, torch.cat((packed, outside)))
    scatter_reference_(wanted, packed)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert bool(wanted.any()) == (n > 0)
