"""The fused products with bfloat16 factors: against float64 products of the rounded factors, on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mambaseg_core
from mambaseg_core import extension, ops
from mambaseg_core.ops import fused, fused_dense

OPERATORS = torch.ops.mambaseg
EPS = torch.finfo(torch.float32).eps
ACTIVATIONS = (fused.NONE, fused.RELU, fused.GELU, fused.SILU, fused.SIGMOID)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def rounded(x: Tensor) -> Tensor:
    """Return the nearest bfloat16 in float64."""
    return x.float().bfloat16().double()


def norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return x if weight is None else F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)


@dataclass
class Case:
    """A linear layer, an MLP (`second`) or a convolution (a weight of four dimensions) and what it is given."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    activation: int = fused.NONE
    second: Tensor | None = None
    bias2: Tensor | None = None
    residual: Tensor | None = None
    stride: int = 1

    @property
    def operator(self) -> Any:
        name = "fused_conv3x3" if self.weight.ndim == 4 else "fused_linear" if self.second is None else "fused_mlp"
        return getattr(OPERATORS, name)

    def arguments(self, *, bfloat16: bool = True) -> tuple[Any, ...]:
        norms = (self.norm_weight, self.norm_bias, 1e-5)
        outputs = self.weight.shape[0]
        if self.weight.ndim == 4:
            packed = OPERATORS.pack_conv3x3(self.weight, bfloat16)
            return self.x, packed, self.bias, outputs, self.stride, *norms, self.activation
        packed = OPERATORS.pack_linear(self.weight, bfloat16)
        if self.second is None:
            return self.x, packed, self.bias, outputs, *norms, self.activation, self.residual
        second = OPERATORS.pack_linear(self.second, bfloat16)
        return (
            self.x,
            *norms,
            packed,
            self.bias,
            outputs,
            second,
            self.bias2,
            self.activation,
            self.residual is not None,
        )

    def fused(self) -> Tensor:
        found: Tensor = self.operator(*self.arguments())
        return found

    def exact(self) -> Tensor:
        """Compute in float64 with rounded factors."""
        x, bias, bias2, residual, scale, shift = (
            None if value is None else value.double()
            for value in (self.x, self.bias, self.bias2, self.residual, self.norm_weight, self.norm_bias)
        )
        assert x is not None
        if self.weight.ndim == 4:
            y = F.conv2d(rounded(x).permute(0, 3, 1, 2), rounded(self.weight), bias, self.stride, 1)
            return fused.activate(norm(y.permute(0, 2, 3, 1), scale, shift), self.activation)
        y = F.linear(rounded(norm(x, scale, shift)), rounded(self.weight), bias)
        y = fused.activate(y, self.activation)
        if self.second is not None:
            y = F.linear(rounded(y), rounded(self.second), bias2)
        return y if residual is None else y + residual


def linear(inputs: int, outputs: int, *rows: int, **changed: Any) -> Case:
    case = Case(
        x=drawn(*rows, inputs),
        weight=drawn(outputs, inputs) / inputs**0.5,
        bias=drawn(outputs, seed=1),
        activation=fused.GELU,
        residual=drawn(*rows, outputs, seed=4),
    )
    return replace(case, **changed)


def mlp(channels: int, hidden: int, *rows: int, **changed: Any) -> Case:
    x = drawn(*rows, channels)
    case = Case(
        x=x,
        weight=drawn(hidden, channels) / channels**0.5,
        second=drawn(channels, hidden) / hidden**0.5,
        bias=drawn(hidden, seed=1),
        bias2=drawn(channels, seed=2),
        norm_weight=drawn(channels, seed=3),
        norm_bias=drawn(channels, seed=4),
        activation=fused.GELU,
        residual=x,
    )
    return replace(case, **changed)


def conv(inputs: int, outputs: int, *size: int, **changed: Any) -> Case:
    case = Case(
        x=drawn(*size, inputs),
        weight=drawn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5,
        bias=drawn(outputs, seed=1),
        norm_weight=drawn(outputs, seed=2),
        norm_bias=drawn(outputs, seed=3),
        stride=2,
        activation=fused.GELU,
    )
    return replace(case, **changed)


def normed(case: Case) -> Case:
    channels = case.x.shape[-1]
    return replace(case, norm_weight=drawn(channels, seed=2), norm_bias=drawn(channels, seed=3))


def error(case: Case) -> Tensor:
    got, exact = case.fused(), case.exact()
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    assert got.shape == exact.shape
    return ((got - exact).abs() / exact.abs().clamp(min=max(1.0, float(exact.abs().mean())))).flatten()


def assert_exact(case: Case) -> None:
    """Compare up to the order of the sums; for factors that are given, not computed before they are rounded."""
    assert float(error(case).max()) < 32 * EPS


def assert_right(case: Case) -> None:
    """Compare where factors are computed in float32: next to the middle between two bfloat16 they round the other way.

    Such a factor moves one sum by at most 2^-8 of itself. Without rounding, all sums would move.
    """
    found = error(case)
    assert float(found.max()) < 2**-8
    assert float(found.median()) < 32 * EPS


CASES = {"linear": linear(33, 70, 2, 5, 7), "mlp": mlp(33, 70, 2, 5, 7), "conv": conv(10, 33, 2, 7, 9)}
CASES["planes"] = replace(CASES["conv"], x=CASES["conv"].x.movedim(-1, 1).contiguous().movedim(1, -1))


# ---- numbers ----


@pytest.mark.parametrize("outputs", [1, 11, 16, 17, 32, 33, 48, 70])
@pytest.mark.parametrize("inputs", [1, 2, 3, 31, 32, 33, 64, 100])
def test_a_linear_layer_of_any_size(inputs: int, outputs: int) -> None:
    assert_exact(linear(inputs, outputs, 37))
    assert_right(normed(linear(inputs, outputs, 37)))


@pytest.mark.parametrize("rows", [1, 2, 5, 7, 12, 13, 15, 16, 17, 31, 32, 33, 48, 49, 95, 97, 193, 1201])
def test_any_number_of_rows(rows: int) -> None:
    assert_exact(linear(20, 19, rows))
    assert_right(mlp(20, 35, rows))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: int) -> None:
    assert_exact(linear(33, 19, 50, activation=activation))
    assert_exact(linear(33, 19, 50, activation=activation, residual=None, bias=None))
    assert_right(mlp(33, 19, 50, activation=activation))
    assert_right(mlp(33, 48, 50, activation=activation, residual=None, norm_weight=None, norm_bias=None, bias2=None))
    assert_exact(conv(5, 19, 1, 9, 8, activation=activation))
    assert_exact(conv(5, 19, 1, 9, 8, activation=activation, norm_weight=None, norm_bias=None))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 5), (15, 20), (9, 101)])
def test_convolutions_of_any_size(size: tuple[int, int], planes: bool, stride: int) -> None:
    for inputs in (1, 3, 10, 17, 33):
        case = conv(inputs, 17, 2, *size, stride=stride)
        assert_exact(replace(case, x=case.x.movedim(-1, 1).contiguous().movedim(1, -1)) if planes else case)


def test_layers_as_the_presets_have_them() -> None:
    assert_exact(linear(192, 192, 1, 8, 10))
    assert_right(mlp(192, 384, 1, 15, 20))
    assert_right(mlp(320, 1280, 1, 7, 11))
    assert_exact(conv(128, 192, 1, 15, 20))


def test_factors_are_rounded_to_the_nearest() -> None:
    """Through an identity: numbers of all sizes, ties between two bfloat16, negative ones, and the same in weights."""
    bits = torch.randint(0, 2**23, (64, 40), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    bits[::2] = bits[::2] & ~0xFFFF | 0x8000  # a tie: to the even one
    x = (bits | torch.arange(64, dtype=torch.int32)[:, None] + 96 << 23).view(torch.float32)
    x[1::4] *= -1
    one = torch.eye(40)
    assert torch.equal(Case(x, one).fused(), x.bfloat16().float())
    assert torch.equal(Case(one, x).fused(), x.bfloat16().float().mT)


def test_the_plain_form() -> None:
    """What runs on other devices, and without the extension."""
    plain: dict[str, Callable[..., Tensor]] = {
        "linear": fused_dense._fused_linear,
        "mlp": fused_dense._fused_mlp,
        "conv": fused_dense._fused_conv3x3,
    }
    for name, compute in plain.items():
        exact = CASES[name].exact()
        difference = (compute(*CASES[name].arguments()) - exact).abs()
        assert float(difference.max()) < 2**-7
        assert float(difference.median()) < 32 * EPS


# ---- every processor ----

EVERYTHING = """
import sys, torch
sys.path.insert(0, {folder!r})
import test_fused_bfloat16 as t
for outputs in (1, 16, 17, 33, 70):
    for inputs in (1, 2, 31, 33, 100):
        t.test_a_linear_layer_of_any_size(inputs, outputs)
for rows in (1, 7, 13, 16, 17, 33, 97, 193):
    t.test_any_number_of_rows(rows)
for activation in t.ACTIVATIONS:
    t.test_activations(activation)
for planes in (False, True):
    for size in ((1, 1), (7, 1), (9, 101)):
        t.test_convolutions_of_any_size(size, planes, 2)
t.test_layers_as_the_presets_have_them()
t.test_factors_are_rounded_to_the_nearest()
print(torch.ops.mambaseg.vector_lanes(), torch.ops.mambaseg.bfloat16_at_once())
"""
AVX512 = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
PROCESSORS: dict[str, tuple[set[str], str]] = {
    "plain": (set(), "4 1"),
    "avx2": ({"avx2", "fma"}, "8 1"),
    "avx512": (AVX512, "16 1"),
    "avx512_bf16": (AVX512 | {"avx512_bf16"}, "16 2"),
    "amx": (AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"}, "16 32"),
}


@pytest.mark.slow
@pytest.mark.parametrize("isa", PROCESSORS)
def test_every_instruction_set(isa: str) -> None:
    if "cpu" not in ops.backends():
        pytest.skip("the extension is not built here")
    needed, expected = PROCESSORS[isa]
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if missing := needed.difference(flags):
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    path = str(Path(mambaseg_core.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING.format(folder=str(Path(__file__).parent))],
        env={**os.environ, "PYTHONPATH": path, "MAMBASEG_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


@pytest.mark.skipif(not hasattr(torch.backends, "mkldnn"), reason="torch has no oneDNN here")
def test_tiles_of_torch_are_left_as_they_were() -> None:
    """OneDNN sets up tiles of its own in the same thread."""
    a, b = drawn(70, 90).bfloat16(), drawn(90, 50).bfloat16()
    wanted, ours = a @ b, CASES["mlp"].fused()
    for _ in range(3):
        assert torch.equal(CASES["mlp"].fused(), ours)
        assert torch.equal(a @ b, wanted)
        assert torch.equal(F.linear(a, b.mT), wanted)


# ---- odd values and memory ----


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_stay_in_their_place(value: float) -> None:
    for case in (linear(33, 19, 2, 30), normed(linear(33, 19, 2, 30)), mlp(33, 19, 2, 30), conv(5, 19, 2, 9, 8)):
        x = case.x.clone()
        x[0, 3, ..., 2] = value
        got, wanted = replace(case, x=x).fused(), replace(case, x=x).exact().isfinite()
        assert torch.equal(got[1], case.fused()[1])
        assert torch.equal(got.isfinite(), wanted)


def bordered(v: Tensor) -> Tensor:
    """Copy into the middle of NaN, so that a read outside shows."""
    whole = torch.full((v.numel() + 128,), float("nan"), dtype=v.dtype)
    whole[64:-64] = v.flatten()
    return whole[64:-64].view(v.shape)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("name", ["linear", "mlp", "conv"])
def test_nothing_outside_is_read_and_all_is_written(name: str) -> None:
    case = CASES[name]
    wanted = case.fused()
    assert wanted.isfinite().all()
    got = case.operator(*(bordered(v) if isinstance(v, Tensor) else v for v in case.arguments()))
    assert torch.equal(got, wanted)


def test_memory_of_an_earlier_item_does_not_matter() -> None:
    """Scratch memory comes as it is left: NaN of one call must not be in the padding of the next."""
    for case in (linear(33, 19, 500), mlp(33, 19, 500), conv(5, 19, 1, 31, 50), CASES["planes"]):
        wanted = case.fused()
        spoilt = mlp(100, 300, 500, x=torch.full((500, 100), float("nan")))
        for _ in range(3):
            assert spoilt.fused().isnan().all()
            assert torch.equal(case.fused(), wanted)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", [linear(64, 70, 900), mlp(64, 130, 900), conv(10, 33, 2, 60, 41)])
def test_the_number_of_threads_changes_no_bit(case: Case) -> None:
    results = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        results.append(case.fused())
    assert all(torch.equal(results[0], other) for other in results[1:])


def strided(v: Tensor) -> Tensor:
    wide = torch.full((*v.shape, 2), float("nan"), dtype=v.dtype)
    wide[..., 1] = v
    return wide[..., 1]


@pytest.mark.parametrize("name", ["linear", "mlp", "conv"])
def test_strides_change_nothing(name: str) -> None:
    case = CASES[name]
    wanted = case.fused()
    given = [strided(v) if isinstance(v, Tensor) else v for v in case.arguments()]
    assert torch.equal(case.operator(*given), wanted)
    for x in (case.x.transpose(1, 2).contiguous().transpose(1, 2), case.x.movedim(-1, 1).contiguous().movedim(1, -1)):
        assert not x.is_contiguous()
        assert torch.equal(replace(case, x=x).fused(), wanted)


def test_nothing_in_nothing_out() -> None:
    assert linear(5, 7, 0).fused().shape == (0, 7)
    assert mlp(5, 7, 0).fused().shape == (0, 5)
    assert conv(5, 7, 0, 4, 4).fused().shape == (0, 2, 2, 7)


# ---- packing and torch ----


def test_a_packed_weight_is_the_same_for_every_processor() -> None:
    """A header of float32 in the memory of 32 numbers; pairs of inputs of 16 outputs, up to 32 inputs."""
    packed = OPERATORS.pack_linear(torch.arange(9.0).view(3, 3), True)
    assert packed.dtype == torch.bfloat16
    assert packed.shape == (32 + 16 * 32,)
    assert packed[:32].view(torch.float32).tolist() == [16180, 3, 3, 1, *12 * [0]]
    pairs = packed[32:].view(16, 16, 2)
    assert pairs[0, :4].tolist() == [[0, 1], [3, 4], [6, 7], [0, 0]]
    assert pairs[1, :4].tolist() == [[2, 0], [5, 0], [8, 0], [0, 0]]
    assert not pairs[2:].any()


@pytest.mark.parametrize("name", ["linear", "mlp", "conv"])
def test_opcheck(name: str) -> None:
    torch.library.opcheck(CASES[name].operator.default, CASES[name].arguments())
    torch.library.opcheck(OPERATORS.pack_linear.default, (drawn(11, 5), True))
    torch.library.opcheck(OPERATORS.pack_conv3x3.default, (drawn(11, 5, 3, 3), True))


@pytest.mark.skipif(bool(extension.MISSING), reason="the extension is not built here")
def test_wrong_arguments_are_refused() -> None:
    case = linear(4, 6, 3, residual=None, bias=None)
    x, packed, *rest = case.arguments()
    wrong = {
        "packed has .*expected": OPERATORS.pack_linear(drawn(17, 4), True),
        r"header \[16180.*7.*expected .*6": OPERATORS.pack_linear(drawn(7, 4), True),
        r"header \[16180.*9\S*\], expected .*pack_linear": OPERATORS.pack_conv3x3(drawn(6, 2, 3, 3), True),
        r"header \[0.*expected \[16180": torch.zeros_like(packed),
    }
    for message, weight in wrong.items():
        with pytest.raises(RuntimeError, match=message):
            OPERATORS.fused_linear(x, weight, *rest)
    with pytest.raises(RuntimeError, match="packed is bfloat16 and x is not float32"):
        OPERATORS.fused_linear(x.double(), packed, *rest)
    arguments = list(mlp(4, 6, 3).arguments())
    full = mlp(4, 6, 3).arguments(bfloat16=False)
    with pytest.raises(RuntimeError, match="one layer is packed in bfloat16 and the other is not"):
        OPERATORS.fused_mlp(*arguments[:7], full[7], *arguments[8:])
    with pytest.raises(RuntimeError, match="packed has another dtype"):
        OPERATORS.fused_mlp(*arguments[:4], full[4], *arguments[5:])
