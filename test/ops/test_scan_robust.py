"""Memory, threads and odd values: errors of a kernel whose numbers look right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops

BACKENDS = ["cpu", "reference"]


def need(backend: str) -> None:
    if backend not in ops.backends():
        pytest.skip(f"back end {backend} is not built here")


def scan_inputs(channels: int, state: int, length: int, groups: int = 2) -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    d = groups * channels
    return [
        torch.randn(2, d, length, generator=g),
        torch.randn(2, d, length, generator=g) - 2,
        -torch.exp(torch.randn(d, state, generator=g)),
        torch.randn(2, groups, state, length, generator=g),
        torch.randn(2, groups, state, length, generator=g),
        torch.randn(d, generator=g),
        torch.randn(d, generator=g),
    ]


def map_inputs(channels: int, state: int, height: int, width: int, rank: int = 3) -> list[Tensor]:
    g = torch.Generator().manual_seed(2)
    return [
        torch.randn(2, height, width, channels, generator=g),
        torch.randn(4, rank + 2 * state, channels, generator=g) / channels**0.5,
        torch.randn(4, channels, rank, generator=g),
        torch.randn(4, channels, generator=g) - 2,
        -torch.exp(torch.randn(4 * channels, state, generator=g)),
        torch.randn(4 * channels, generator=g),
    ]


def sequence_inputs(channels: int, state: int, length: int, rank: int = 3) -> list[Tensor]:
    x, *rest = map_inputs(channels, state, 1, length, rank)
    halves = [w[: w.shape[0] // 2] for w in rest]
    return [x[:, 0].mT.contiguous(), *halves]


def soft_scan(*inputs: Tensor, backend: str) -> Tensor:
    return ops.selective_scan(*inputs, delta_softplus=True, backend=backend)


CALLS = {
    "selective_scan": (soft_scan, scan_inputs(37, 5, 131)),
    "ss2d": (ops.ss2d, map_inputs(37, 5, 9, 13)),
    "bidirectional_scan": (ops.bidirectional_scan, sequence_inputs(37, 5, 131)),
}


def forward_and_gradients(name: str, inputs: list[Tensor], backend: str) -> list[Tensor]:
    leaves = [v.detach().clone().requires_grad_() for v in inputs]
    y = CALLS[name][0](*leaves, backend=backend)
    gy = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    return [y.detach(), *torch.autograd.grad(y, leaves, gy)]


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_every_output_is_written(name: str, backend: str) -> None:
    need(backend)
    for tensor in forward_and_gradients(name, CALLS[name][1], backend):
        assert tensor.isfinite().all()


def operator_inputs(name: str) -> list[Tensor | bool]:
    """Return the arguments of the compiled operator: the projected inputs."""
    x, x_proj, *rest = inputs = CALLS[name][1]
    if name == "selective_scan":
        return [*inputs, True]
    return [x, torch.einsum("bhwc,kmc->bhwkm" if name == "ss2d" else "bcl,kmc->bkml", x, x_proj), *rest]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", CALLS)
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    """Only the operators: for the products around them torch guarantees nothing."""
    need("cpu")
    given, gy = operator_inputs(name), torch.randn_like(CALLS[name][1][0])
    results = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        results.append([getattr(torch.ops.mambaseg, name)(*given)])
        if name != "bidirectional_scan":  # its gradients are those of selective_scan
            results[-1] += getattr(torch.ops.mambaseg, f"{name}_backward")(gy, *given)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_strides_change_nothing(name: str, backend: str) -> None:
    need(backend)
    function, inputs = CALLS[name]
    wanted = function(*inputs, backend=backend)
    strided = []
    for v in inputs:
        wide = torch.full((*v.shape, 2), float("nan"))
        wide[..., 1] = v
        strided.append(wide[..., 1])
    assert not any(v.is_contiguous() for v in strided)
    torch.testing.assert_close(function(*strided, backend=backend), wanted, rtol=1e-5, atol=1e-5)
    turned = [inputs[0].transpose(-1, -2).contiguous().transpose(-1, -2), *inputs[1:]]
    torch.testing.assert_close(function(*turned, backend=backend), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_arguments_are_not_written_to(name: str) -> None:
    before = [v.clone() for v in CALLS[name][1]]
    forward_and_gradients(name, CALLS[name][1], ops.backends()[0])
    assert all(torch.equal(a, b) for a, b in zip(before, CALLS[name][1], strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_values_that_are_not_finite_spoil_only_their_own_image(name: str, backend: str, value: float) -> None:
    """No hang, no trap, and the other image of the batch is untouched."""
    need(backend)
    function, inputs = CALLS[name]
    clean = function(*inputs, backend=backend)
    x = inputs[0].clone()
    x[(0, *(size // 2 for size in x.shape[1:]))] = value
    y = function(x, *inputs[1:], backend=backend)
    assert not y[0].isfinite().all()
    torch.testing.assert_close(y[1], clean[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_odd_step_sizes_as_the_reference_has_them(value: float) -> None:
    need("cpu")
    u, delta, *rest = scan_inputs(3, 2, 20)
    delta[0, 0, 7] = value
    got, wanted = (ops.selective_scan(u, delta, *rest, True, backend=b) for b in BACKENDS)
    assert torch.equal(got.isfinite(), wanted.isfinite())
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_decay_that_underflows_is_not_nan(backend: str) -> None:
    """The cumsum/exp form of other codes returns NaN here."""
    need(backend)
    u, delta, A, B, C, D, bias = scan_inputs(4, 16, 500)
    y = ops.selective_scan(u, delta + 20, A * 100, B, C, D, bias, True, backend=backend)
    assert y.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_in_nothing_out(backend: str) -> None:
    need(backend)
    u, delta, A, B, C, D, bias = scan_inputs(3, 2, 5)
    y = ops.selective_scan(u[..., :0], delta[..., :0], A, B[..., :0], C[..., :0], D, bias, backend=backend)
    assert y.shape == (2, 6, 0)
    x, *rest = map_inputs(3, 2, 4, 4)
    assert ops.ss2d(x[:0], *rest, backend=backend).shape == (0, 4, 4, 3)
    s, *rest = sequence_inputs(3, 2, 5)
    assert ops.bidirectional_scan(s[:0], *rest, backend=backend).shape == (0, 2, 3, 5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_sequence_of_few_channels(backend: str) -> None:
    need(backend)
    inputs = scan_inputs(3, 4, 38_400)
    y = ops.selective_scan(*inputs, delta_softplus=True, backend=backend)
    wanted = ops.selective_scan(*(v.double() for v in inputs), delta_softplus=True, backend="reference")
    assert float((y - wanted).abs().max() / wanted.abs().max()) < 3e-6


def test_slow_decays_do_not_drift() -> None:
    """A step so small that the decay is nearly 1, 4096 times over: an exp with a bias would show."""
    need("cpu")
    length = 4096
    u = torch.ones(1, 16, length)
    delta = torch.full((1, 16, length), 1e-4)
    A, one = -torch.ones(16, 1), torch.ones(1, 1, 1, length)
    y = ops.selective_scan(u, delta, A, one, one, backend="cpu")
    exact = [v.double() for v in (u, delta, A, one, one)]
    wanted = ops.selective_scan(*exact, backend="reference")
    # the decay is good to a unit in the last place below 1, 2^-24; the state grows from 0: half of the steps count
    assert float(((y - wanted) / wanted).abs().max()) < length / 2 * 2.0**-24


def test_gradcheck_in_float64() -> None:
    need("cpu")
    for name, inputs in (
        ("selective_scan", scan_inputs(2, 2, 5)),
        ("ss2d", map_inputs(3, 2, 3, 2)),
        ("bidirectional_scan", sequence_inputs(3, 2, 5)),
    ):
        leaves = [v.double().requires_grad_() for v in inputs]
        assert torch.autograd.gradcheck(lambda *a, f=CALLS[name][0]: f(*a, backend="cpu"), leaves)


def test_second_derivatives_are_refused_or_right() -> None:
    inputs = [v.double().requires_grad_() for v in scan_inputs(2, 2, 4)]
    (first,) = torch.autograd.grad(soft_scan(*inputs, backend="reference").sum(), inputs[1], create_graph=True)
    assert torch.autograd.grad(first.square().sum(), inputs[1])[0].abs().max() > 0
    need("cpu")
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(soft_scan(*inputs, backend="cpu").sum(), inputs[1], create_graph=True)
