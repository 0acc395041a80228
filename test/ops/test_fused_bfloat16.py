"""The fused products with bfloat16 factors: against float64 products of the rounded factors, on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fused_cases
import pytest
import torch
import torch.nn.functional as F
from fused_cases import (
    ACTIVATIONS,
    EPS,
    OPERATORS,
    Case,
    Conv,
    Linear,
    Mlp,
    bordered,
    conv,
    drawn,
    linear,
    mapped,
    mlp,
    norm,
    strided,
)
from torch import Tensor

import mambaseg_core
from mambaseg_core import extension, ops
from mambaseg_core.ops import fused, fused_dense


def rounded(x: Tensor) -> Tensor:
    """Return the nearest bfloat16 in float64."""
    return x.float().bfloat16().double()


def arguments(case: Case) -> tuple[Any, ...]:
    return case.arguments(bfloat16=True)


def product(case: Case) -> Tensor:
    found: Tensor = case.operator(*arguments(case))
    return found


def exact(case: Case) -> Tensor:
    """Compute in float64 with rounded factors."""
    case = mapped(case, Tensor.double)
    norms = case.norm_weight, case.norm_bias
    if isinstance(case, Conv):
        y = F.conv2d(rounded(case.x).permute(0, 3, 1, 2), rounded(case.weight), case.bias, case.stride, 1)
        return fused.activate(norm(y.permute(0, 2, 3, 1), *norms), case.activation)
    if isinstance(case, Mlp):
        y = F.linear(rounded(norm(case.x, *norms)), rounded(case.first), case.bias1)
        y = F.linear(rounded(fused.activate(y, case.activation)), rounded(case.second), case.bias2)
        return y + case.x if case.residual else y
    y = fused.activate(F.linear(rounded(norm(case.x, *norms)), rounded(case.weight), case.bias), case.activation)
    return y if case.residual is None else y + case.residual


def bare(case: Case) -> Case:
    """Leave the norm out: the factors of a product then are as they were given."""
    return replace(case, norm_weight=None, norm_bias=None)


def planes_of(x: Tensor) -> Tensor:
    """Return the same image, stored as planes."""
    return x.movedim(-1, 1).contiguous().movedim(1, -1)


def error(case: Case) -> Tensor:
    got, wanted = product(case), exact(case)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    assert got.shape == wanted.shape
    return ((got - wanted).abs() / wanted.abs().clamp(min=max(1.0, float(wanted.abs().mean())))).flatten()


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


CASES = {**fused_cases.CASES, "linear": bare(fused_cases.CASES["linear"])}
CASES["planes"] = replace(CASES["conv"], x=planes_of(CASES["conv"].x))


# ---- numbers ----


@pytest.mark.parametrize("outputs", [1, 11, 16, 17, 32, 33, 48, 70])
@pytest.mark.parametrize("inputs", [1, 2, 3, 31, 32, 33, 64, 100])
def test_a_linear_layer_of_any_size(inputs: int, outputs: int) -> None:
    assert_exact(bare(linear(inputs, outputs, 37)))
    assert_right(linear(inputs, outputs, 37))


@pytest.mark.parametrize("rows", [1, 2, 5, 7, 12, 13, 15, 16, 17, 31, 32, 33, 48, 49, 95, 97, 193, 1201])
def test_any_number_of_rows(rows: int) -> None:
    assert_exact(bare(linear(20, 19, rows)))
    assert_right(mlp(20, 35, rows))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: int) -> None:
    assert_exact(bare(linear(33, 19, 50, activation=activation)))
    assert_exact(bare(linear(33, 19, 50, activation=activation, residual=None, bias=None)))
    assert_right(mlp(33, 19, 50, activation=activation))
    assert_right(bare(mlp(33, 48, 50, activation=activation, residual=False, bias2=None)))
    assert_exact(conv(5, 19, 1, 9, 8, activation=activation))
    assert_exact(bare(conv(5, 19, 1, 9, 8, activation=activation)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 5), (15, 20), (9, 101)])
def test_convolutions_of_any_size(size: tuple[int, int], planes: bool, stride: int) -> None:
    for inputs in (1, 3, 10, 17, 33):
        case = conv(inputs, 17, 2, *size, stride=stride)
        assert_exact(replace(case, x=planes_of(case.x)) if planes else case)


def test_layers_as_the_presets_have_them() -> None:
    assert_exact(bare(linear(192, 192, 1, 8, 10)))
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
    assert torch.equal(product(Linear(x, one)), x.bfloat16().float())
    assert torch.equal(product(Linear(one, x)), x.bfloat16().float().mT)


def test_the_plain_form() -> None:
    """What runs on other devices, and without the extension."""
    plain: dict[str, Callable[..., Tensor]] = {
        "linear": fused_dense._fused_linear,
        "mlp": fused_dense._fused_mlp,
        "conv": fused_dense._fused_conv3x3,
    }
    for name, compute in plain.items():
        difference = (compute(*arguments(CASES[name])) - exact(CASES[name])).abs()
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
    wanted, ours = a @ b, product(CASES["mlp"])
    for _ in range(3):
        assert torch.equal(product(CASES["mlp"]), ours)
        assert torch.equal(a @ b, wanted)
        assert torch.equal(F.linear(a, b.mT), wanted)


# ---- odd values and memory ----


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_stay_in_their_place(value: float) -> None:
    for case in (bare(linear(33, 19, 2, 30)), linear(33, 19, 2, 30), mlp(33, 19, 2, 30), conv(5, 19, 2, 9, 8)):
        x = case.x.clone()
        x[0, 3, ..., 2] = value
        got, wanted = product(replace(case, x=x)), exact(replace(case, x=x)).isfinite()
        assert torch.equal(got[1], product(case)[1])
        assert torch.equal(got.isfinite(), wanted)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("name", ["linear", "mlp", "conv"])
def test_nothing_outside_is_read_and_all_is_written(name: str) -> None:
    case = CASES[name]
    wanted = product(case)
    assert wanted.isfinite().all()
    got = case.operator(*(bordered(v) if isinstance(v, Tensor) else v for v in arguments(case)))
    assert torch.equal(got, wanted)


def test_memory_of_an_earlier_item_does_not_matter() -> None:
    """Scratch memory comes as it is left: NaN of one call must not be in the padding of the next."""
    for case in (bare(linear(33, 19, 500)), mlp(33, 19, 500), conv(5, 19, 1, 31, 50), CASES["planes"]):
        wanted = product(case)
        spoilt = mlp(100, 300, 500, x=torch.full((500, 100), float("nan")))
        for _ in range(3):
            assert product(spoilt).isnan().all()
            assert torch.equal(product(case), wanted)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", [bare(linear(64, 70, 900)), mlp(64, 130, 900), conv(10, 33, 2, 60, 41)])
def test_the_number_of_threads_changes_no_bit(case: Case) -> None:
    results = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        results.append(product(case))
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("name", ["linear", "mlp", "conv"])
def test_strides_change_nothing(name: str) -> None:
    case = CASES[name]
    wanted = product(case)
    given = [strided(v) if isinstance(v, Tensor) else v for v in arguments(case)]
    assert torch.equal(case.operator(*given), wanted)
    for x in (case.x.transpose(1, 2).contiguous().transpose(1, 2), planes_of(case.x)):
        assert not x.is_contiguous()
        assert torch.equal(product(replace(case, x=x)), wanted)


def test_nothing_in_nothing_out() -> None:
    assert product(linear(5, 7, 0)).shape == (0, 7)
    assert product(mlp(5, 7, 0)).shape == (0, 5)
    assert product(conv(5, 7, 0, 4, 4)).shape == (0, 2, 2, 7)


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
    torch.library.opcheck(CASES[name].operator.default, arguments(CASES[name]))
    torch.library.opcheck(OPERATORS.pack_linear.default, (drawn(11, 5), True))
    torch.library.opcheck(OPERATORS.pack_conv3x3.default, (drawn(11, 5, 3, 3), True))


@pytest.mark.skipif(bool(extension.MISSING), reason="the extension is not built here")
def test_wrong_arguments_are_refused() -> None:
    case = bare(linear(4, 6, 3, residual=None, bias=None))
    x, packed, *rest = arguments(case)
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
    given = list(arguments(mlp(4, 6, 3)))
    full = mlp(4, 6, 3).arguments()
    with pytest.raises(RuntimeError, match="one layer is packed in bfloat16 and the other is not"):
        OPERATORS.fused_mlp(*given[:7], full[7], *given[8:])
    with pytest.raises(RuntimeError, match="packed has another dtype"):
        OPERATORS.fused_mlp(*given[:4], full[4], *given[5:])
