"""The fused products: against float64, at odd sizes, odd values, odd memory; what they refuse; export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fused_cases import (
    ACTIVATIONS,
    CASES,
    EPS,
    OPERATORS,
    Case,
    Linear,
    bordered,
    conv,
    drawn,
    linear,
    mapped,
    mlp,
    strided,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mambaseg_core import extension, ops
from mambaseg_core.ops import fused, fused_dense


def assert_right(case: Case, tolerance: float = 32) -> None:
    """Compare with float64; the tolerance is in units of float32's last place at the size of the numbers summed up."""
    got, exact = case.fused(), mapped(case, Tensor.double).plain()
    assert got.dtype == case.x.dtype
    assert got.is_contiguous()
    assert got.shape == exact.shape
    scale = exact.abs().clamp(min=exact.abs().mean().clamp(min=1))
    assert float(((got - exact).abs() / scale).max()) < tolerance * EPS


# ---- numbers ----


@pytest.mark.parametrize("outputs", [1, 4, 8, 11, 16, 17, 33, 48, 70])
@pytest.mark.parametrize("inputs", [1, 3, 10, 33, 64])
def test_a_linear_layer_of_any_size(inputs: int, outputs: int) -> None:
    assert_right(linear(inputs, outputs, 37))


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 11, 12, 13, 25, 47, 48, 49, 80, 97, 300, 1201])
def test_any_number_of_rows(rows: int) -> None:
    assert_right(linear(20, 19, rows))
    assert_right(mlp(20, 35, rows))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: int) -> None:
    assert_right(linear(33, 19, 50, activation=activation))
    assert_right(linear(33, 19, 50, activation=activation, residual=None))
    assert_right(mlp(33, 19, 50, activation=activation))
    assert_right(conv(5, 19, 1, 9, 8, activation=activation))
    assert_right(conv(5, 19, 1, 9, 8, activation=activation, norm_weight=None, norm_bias=None))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_over_their_whole_range(activation: int) -> None:
    """Through an identity, so that only the activation is measured: an error of two last places of max(1, |y|)."""
    x = torch.cat((torch.linspace(-12, 12, 20_001), torch.tensor([-1e30, -200.0, -0.0, 200.0, 1e30])))[:, None]
    case = Linear(x, torch.ones(1, 1), activation=activation)
    exact = mapped(case, Tensor.double).plain()
    assert float(((case.fused() - exact) / exact.abs().clamp(min=1)).abs().max()) < 2 * EPS


@pytest.mark.parametrize("left_out", ["bias", "norm", "norm_bias", "residual", "all"])
def test_what_may_be_left_out(left_out: str) -> None:
    nothing: dict[str, dict[str, Any]] = {
        "bias": {"bias": None},
        "norm": {"norm_weight": None, "norm_bias": None},
        "norm_bias": {"norm_bias": None},
        "residual": {"residual": None},
    }
    nothing["all"] = {name: None for some in nothing.values() for name in some}
    given = nothing[left_out]
    assert_right(linear(33, 11, 50, **given))
    assert_right(conv(10, 11, 2, 5, 6, **{name: None for name in given if name != "residual"}))
    names = {"bias": ("bias1", "bias2")}
    given = {new: None for name in given if name != "residual" for new in names.get(name, (name,))}
    assert_right(mlp(33, 70, 50, **given, residual=left_out not in ("residual", "all")))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (8, 10), (15, 20), (9, 101)])
def test_convolutions_of_any_size(size: tuple[int, int], stride: int) -> None:
    assert_right(conv(3, 17, 2, *size, stride=stride))


@pytest.mark.parametrize("outputs", [1, 8, 11, 16, 33, 48])
@pytest.mark.parametrize("inputs", [1, 3, 10, 33])
def test_convolutions_of_any_width(inputs: int, outputs: int) -> None:
    assert_right(conv(inputs, outputs, 1, 6, 7, norm_weight=None, norm_bias=None))
    assert_right(conv(inputs, outputs, 1, 6, 7, stride=1, norm_weight=None, norm_bias=None))


def test_layers_as_the_presets_have_them() -> None:
    assert_right(linear(192, 192, 1, 8, 10))
    assert_right(mlp(192, 384, 1, 15, 20))
    assert_right(mlp(320, 1280, 1, 7, 11))
    assert_right(conv(128, 192, 1, 15, 20))


def test_long_sums() -> None:
    """Error of a sum of 3072 products, against the sum of their magnitudes."""
    case = Linear(drawn(30, 3072), drawn(33, 3072))
    exact = mapped(case, Tensor.double).plain()
    size = F.linear(case.x.abs(), case.weight.abs())
    assert float(((case.fused() - exact).abs() / size).max()) < 4 * EPS


def test_a_norm_far_from_zero() -> None:
    """The mean is taken off before the squares are summed up: one row at 4096, one of thousands, one constant."""
    x = drawn(3, 40)
    x[0] += 4096
    x[1] *= 5000
    x[2] = 7
    case = Linear(x, torch.eye(40), norm_weight=torch.ones(40), norm_bias=torch.zeros(40))
    exact = mapped(case, Tensor.double).plain()
    assert float((case.fused() - exact).abs().max()) < 4096 * EPS
    assert float((case.fused() - exact)[1:].abs().max()) < 8 * EPS


@pytest.mark.skipif(bool(extension.MISSING), reason="the extension is not built here")
@pytest.mark.parametrize(("dtype", "large"), [(torch.float32, 1e20), (torch.float64, 1e160)])
@pytest.mark.parametrize("channels", [1, 11, 64])
def test_a_norm_whose_squares_overflow_is_not_finite(channels: int, dtype: torch.dtype, large: float) -> None:
    x = drawn(20, channels).to(dtype)
    x[7, 0] = large
    case = Linear(x, torch.eye(channels, dtype=dtype), norm_weight=x[0], norm_bias=x[1])
    finite = case.fused().isfinite()
    assert finite[:7].all()
    assert finite[8:].all()
    assert channels == 1 or not finite[7].any()


@pytest.mark.parametrize("name", CASES)
def test_float64(name: str) -> None:
    case = mapped(CASES[name], Tensor.double)
    torch.testing.assert_close(case.fused(), case.plain(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_plain_form(name: str) -> None:
    """What runs on other devices, and without the extension."""
    case = CASES[name]
    plain = {"linear": fused_dense._fused_linear, "mlp": fused_dense._fused_mlp, "conv": fused_dense._fused_conv3x3}
    torch.testing.assert_close(plain[name](*case.arguments()), case.plain())


def test_autocast_changes_nothing() -> None:
    for case in CASES.values():
        wanted = case.fused()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(case.fused(), wanted)


# ---- odd values ----


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_that_are_not_finite(value: float, activation: int) -> None:
    """The plain form is finite where the fused one is, but for gelu and silu of an infinity, which torch makes NaN."""
    for whole in (linear(33, 19, 2, 30), mlp(33, 19, 2, 30), conv(5, 19, 2, 9, 8)):
        for bare in (False, True):
            case = replace(whole, activation=activation, **({"norm_weight": None, "norm_bias": None} if bare else {}))
            x = case.x.clone()
            x[0, 3, ..., 2] = value
            spoilt = replace(case, x=x)
            got, wanted = spoilt.fused(), spoilt.plain()
            assert torch.equal(got[1], case.fused()[1])
            if value != value:
                assert torch.equal(got.isnan(), wanted.isnan())
            else:
                finite = wanted.isfinite()
                assert torch.equal(got.isfinite(), finite)
                torch.testing.assert_close(got[finite], wanted[finite], rtol=1e-4, atol=1e-4)


def test_infinities_and_nan_through_an_activation() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf")])[:, None]
    results = {a: Linear(x, torch.ones(1, 1), activation=a).fused().flatten() for a in ACTIVATIONS}
    assert all(y[0].isnan() for y in results.values())
    assert results[fused.NONE][1:].tolist() == [float("inf"), -float("inf")]
    assert results[fused.RELU][1:].tolist() == [float("inf"), 0]
    assert results[fused.SIGMOID][1:].tolist() == [1, 0]
    assert not any(results[a][1:].isfinite().any() for a in (fused.GELU, fused.SILU))


# ---- memory and threads ----


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("name", CASES)
def test_nothing_outside_is_read_and_all_is_written(name: str) -> None:
    case = CASES[name]
    wanted = case.fused()
    assert wanted.isfinite().all()
    got = case.operator(*(bordered(v) if isinstance(v, Tensor) else v for v in case.arguments()))
    assert torch.equal(got, wanted)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "case", [linear(64, 70, 300), mlp(64, 130, 300), conv(10, 33, 2, 30, 41), conv(40, 33, 1, 8, 10, stride=1)]
)
def test_the_number_of_threads_changes_no_bit(case: Case) -> None:
    results = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        results.append(case.fused())
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("name", CASES)
def test_strides_change_nothing(name: str) -> None:
    case = CASES[name]
    wanted = case.fused()
    assert torch.equal(mapped(case, strided).fused(), wanted)
    turned = case.x.transpose(1, 2).contiguous().transpose(1, 2)
    first = case.x.movedim(-1, 1).contiguous().movedim(1, -1)  # as images come
    cut = torch.cat((case.x, case.x), -1)[..., : case.x.shape[-1]]
    for x in (turned, first, cut):
        assert not x.is_contiguous()
        assert torch.equal(replace(case, x=x).fused(), wanted)


@pytest.mark.parametrize("name", CASES)
def test_arguments_are_not_written_to(name: str) -> None:
    case = CASES[name]
    before = mapped(case, Tensor.clone)
    case.fused()
    assert all(torch.equal(v, vars(before)[k]) for k, v in vars(case).items() if isinstance(v, Tensor))


def test_nothing_in_nothing_out() -> None:
    assert linear(5, 7, 0).fused().shape == (0, 7)
    assert linear(5, 7, 3, 0, 2).fused().shape == (3, 0, 2, 7)
    assert mlp(5, 7, 0).fused().shape == (0, 5)
    assert conv(5, 7, 0, 4, 4).fused().shape == (0, 2, 2, 7)


def test_a_row_without_leading_dimensions() -> None:
    assert_right(linear(20, 11))


# ---- torch ----


@pytest.mark.parametrize("name", CASES)
def test_opcheck(name: str) -> None:
    case = CASES[name]
    torch.library.opcheck(case.operator.default, case.arguments())
    torch.library.opcheck(case.operator.default, mapped(case, Tensor.double).arguments())


def test_opcheck_of_packing() -> None:
    torch.library.opcheck(OPERATORS.pack_linear.default, (drawn(11, 5),))
    torch.library.opcheck(OPERATORS.pack_conv3x3.default, (drawn(11, 5, 3, 3),))


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_is_refused(name: str) -> None:
    case = replace(CASES[name], x=CASES[name].x.clone().requires_grad_())
    y = case.fused()
    with pytest.raises(RuntimeError, match=r"fused_\w+ is for inference and has no gradient"):
        y.sum().backward()
    packed = OPERATORS.pack_linear(torch.ones(2, 3, requires_grad=True))
    with pytest.raises(RuntimeError, match="pack_linear is for inference and has no gradient"):
        packed.sum().backward()


class Small(nn.Module):
    """A convolution, an MLP and a head."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in {
            "stem": OPERATORS.pack_conv3x3(drawn(20, 3, 3, 3)),
            "first": OPERATORS.pack_linear(drawn(40, 20)),
            "second": OPERATORS.pack_linear(drawn(20, 40)),
            "head": OPERATORS.pack_linear(drawn(11, 20)),
            "scale": torch.ones(20),
        }.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.scale, None, 1e-5)
        x = OPERATORS.fused_conv3x3(x, self.stem, None, 20, 2, *scale, fused.GELU)
        x = OPERATORS.fused_mlp(x, *scale, self.first, None, 40, self.second, None, fused.GELU, True)
        return OPERATORS.fused_linear(x, self.head, None, 11, *scale, fused.NONE, None)


def test_export_with_another_size() -> None:
    model, x = Small().eval(), drawn(1, 8, 10, 3)
    size = torch.export.Dim("height", min=3, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {1: size}})
    for name in ("fused_conv3x3", "fused_mlp", "fused_linear"):
        assert f"mambaseg.{name}" in str(program.graph)
    other = drawn(1, 13, 10, 3)
    assert torch.equal(program.module()(other), model(other))


def test_flops_are_those_of_the_plain_form() -> None:
    for case in CASES.values():
        counts = []
        for call in (case.fused, case.plain):
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                call()
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1]


# ---- refusals ----


def changed(case: Case, place: int, value: Any) -> Callable[[], Tensor]:
    arguments = list(case.arguments())
    arguments[place] = value
    return lambda: case.operator(*arguments)


REFUSED = [
    (linear(4, 6, 3), 0, drawn(3, 5), r"packed has .*expected \[96\]"),
    (linear(4, 6, 3), 0, drawn(3, 4).half(), r"float32 or float64"),
    (linear(4, 6, 3), 0, drawn(3, 4).double(), r"packed has another dtype"),
    (linear(4, 6, 3), 1, OPERATORS.pack_linear(drawn(4, 6)), r"packed has .*expected \[80\]"),
    (linear(4, 6, 3), 1, OPERATORS.pack_linear(drawn(7, 4)), r"header \[16180.*7.*expected .*6"),
    (linear(18, 6, 3), 1, OPERATORS.pack_conv3x3(drawn(6, 2, 3, 3)), r"header \[16180.*9\S*\], expected .*pack_linear"),
    (linear(4, 6, 3), 1, torch.zeros(80), r"header \[0.*expected \[16180"),
    (linear(4, 6, 3), 1, torch.zeros(5, 16), r"packed has .*shape \[5, 16\]"),
    (linear(4, 6, 3), 2, drawn(5), r"bias has shape \[5\], expected \[6\]"),
    (linear(4, 6, 3), 3, 7, r"header \[16180.*6.*expected .*7"),
    (linear(4, 6, 3), 3, 0, r"number of outputs is 0, expected 1 or more"),
    (linear(4, 6, 3), 4, drawn(5), r"norm_weight has shape \[5\], expected \[4\]"),
    (linear(4, 6, 3), 4, None, r"norm_bias is given without norm_weight"),
    (linear(4, 6, 3), 5, drawn(4, 1), r"norm_bias has shape \[4, 1\], expected \[4\]"),
    (linear(4, 6, 3), 7, 5, r"activation is 5, expected 0 \(none\)"),
    (linear(4, 6, 3), 7, -1, r"activation is -1, expected 0 \(none\)"),
    (linear(4, 6, 3), 8, drawn(2, 6), r"residual has shape \[2, 6\], expected \[3, 6\]"),
    (linear(4, 6, 3), 8, drawn(3, 6).double(), r"residual has another dtype"),
    (mlp(4, 6, 3), 6, 7, r"header \[16180.*6.*expected .*7"),
    (mlp(4, 6, 3), 7, OPERATORS.pack_linear(drawn(6, 4)), r"packed has .*expected \[112\]"),
    (mlp(4, 6, 3), 8, drawn(6), r"bias has shape \[6\], expected \[4\]"),
    (mlp(4, 6, 3), 9, 9, r"activation is 9"),
    (conv(4, 6, 1, 5, 5), 0, drawn(5, 5, 4), r"x has shape \[5, 5, 4\], expected 4 dimensions"),
    (conv(4, 6, 1, 5, 5), 1, OPERATORS.pack_linear(drawn(6, 36)), r"header \[16180.*expected .*pack_conv3x3"),
    (conv(4, 6, 1, 5, 5), 4, 3, r"stride is 3, expected 1 or 2"),
    (conv(4, 6, 1, 5, 5), 5, drawn(4), r"norm_weight has shape \[4\], expected \[6\]"),
    (conv(4, 6, 1, 5, 5), 8, 5, r"activation is 5"),
]


@pytest.mark.parametrize(("case", "place", "value", "message"), REFUSED)
def test_wrong_arguments_are_refused(case: Case, place: int, value: Any, message: str) -> None:
    if "cpu" not in ops.backends():
        pytest.skip("the extension is not built here")
    with pytest.raises(RuntimeError, match=message):
        changed(case, place, value)()


@pytest.mark.parametrize(
    ("pack", "shape"),
    [("pack_linear", (4,)), ("pack_linear", (0, 4)), ("pack_conv3x3", (4, 4)), ("pack_conv3x3", (4, 4, 1, 1))],
)
def test_only_weights_are_packed(pack: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match=rf"{pack}: weight has shape \[[\d, ]+\], expected \[O, I"):
        getattr(OPERATORS, pack)(torch.ones(shape))


def test_a_packed_weight_is_the_same_for_every_processor() -> None:
    """Panels of 16 outputs, one input after the other; exported programs hold them."""
    packed = OPERATORS.pack_linear(torch.arange(6.0).view(3, 2))
    assert packed[:16].tolist() == [16180, 3, 2, 1, *12 * [0]]
    assert packed[16:].view(2, 16)[:, :4].tolist() == [[0, 2, 4, 0], [1, 3, 5, 0]]
    assert packed.shape == (48,)
