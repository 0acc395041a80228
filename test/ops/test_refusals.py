"""Wrong arguments are refused; the message names the argument, its value and the expected one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops


def scan(**changed: Tensor | str | None) -> Tensor:
    given = {
        "u": torch.ones(2, 6, 5),
        "delta": torch.ones(2, 6, 5),
        "A": -torch.ones(6, 4),
        "B": torch.ones(2, 3, 4, 5),
        "C": torch.ones(2, 3, 4, 5),
        "D": torch.ones(6),
        "delta_bias": torch.ones(6),
    }
    return ops.selective_scan(**{**given, **changed})


def map_scan(**changed: Tensor | str | None) -> Tensor:
    given = {
        "x": torch.ones(2, 3, 5, 6),
        "x_proj_weight": torch.ones(4, 10, 6),
        "dt_projs_weight": torch.ones(4, 6, 2),
        "dt_projs_bias": torch.ones(4, 6),
        "A": -torch.ones(24, 4),
        "D": torch.ones(24),
    }
    return ops.ss2d(**{**given, **changed})


def sequence_scan(**changed: Tensor | str | None) -> Tensor:
    given = {
        "x": torch.ones(2, 6, 5),
        "x_proj_weight": torch.ones(2, 10, 6),
        "dt_projs_weight": torch.ones(2, 6, 2),
        "dt_projs_bias": torch.ones(2, 6),
        "A": -torch.ones(12, 4),
        "D": torch.ones(12),
    }
    return ops.bidirectional_scan(**{**given, **changed})


def test_the_examples_themselves_are_taken() -> None:
    assert scan().shape == (2, 6, 5)
    assert scan(D=None, delta_bias=None).shape == (2, 6, 5)
    assert map_scan().shape == (2, 3, 5, 6)
    assert sequence_scan().shape == (2, 2, 6, 5)


SHAPES = [
    (scan, "u", (2, 6)),
    (scan, "u", (2, 6, 4)),
    (scan, "delta", (2, 6, 4)),
    (scan, "A", (5, 4)),
    (scan, "B", (2, 3, 5, 5)),
    (scan, "B", (2, 4, 5)),
    (scan, "C", (1, 3, 4, 5)),
    (scan, "D", (5,)),
    (scan, "delta_bias", (6, 1)),
    (map_scan, "x", (2, 3, 6)),
    (map_scan, "x_proj_weight", (4, 9, 6)),
    (map_scan, "x_proj_weight", (2, 10, 6)),
    (map_scan, "dt_projs_weight", (4, 5, 2)),
    (map_scan, "dt_projs_bias", (24,)),
    (map_scan, "A", (12, 4)),
    (map_scan, "D", (6,)),
    (sequence_scan, "x", (2, 3, 5, 6)),
    (sequence_scan, "x_proj_weight", (4, 10, 6)),
    (sequence_scan, "dt_projs_weight", (2, 6)),
    (sequence_scan, "dt_projs_bias", (2, 5)),
    (sequence_scan, "A", (24, 4)),
    (sequence_scan, "D", (24,)),
]


@pytest.mark.parametrize(("function", "name", "shape"), SHAPES)
def test_a_wrong_shape_is_named(function: Callable[..., Tensor], name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r": \w+ has shape \[[\d, ]+\], expected .*\[") as refusal:
        function(**{name: torch.ones(shape)})
    if (name, shape) not in {("u", (2, 6, 4)), ("x", (2, 3, 6))}:  # there the others disagree with the first
        assert f": {name} has shape {list(shape)}, expected" in str(refusal.value)


def test_groups_that_do_not_divide_the_channels() -> None:
    with pytest.raises(ValueError, match=r"B has 4 groups .* divisor of the 6 channels"):
        scan(B=torch.ones(2, 4, 4, 5), C=torch.ones(2, 4, 4, 5))


@pytest.mark.parametrize(
    ("function", "name"),
    [(scan, n) for n in ("delta", "A", "B", "C", "D", "delta_bias")]
    + [(f, n) for f in (map_scan, sequence_scan) for n in ("x_proj_weight", "dt_projs_bias", "A", "D")],
)
def test_wrong_dtypes_and_devices_are_named(function: Callable[..., Tensor], name: str) -> None:
    shapes = {"delta": (2, 6, 5), "B": (2, 3, 4, 5), "C": (2, 3, 4, 5), "delta_bias": (6,)}
    if function is scan:
        shapes |= {"A": (6, 4), "D": (6,)}
    else:
        k = 4 if function is map_scan else 2
        shapes |= {"A": (6 * k, 4), "D": (6 * k,), "x_proj_weight": (k, 10, 6), "dt_projs_bias": (k, 6)}
    with pytest.raises(TypeError, match=rf": {name} is torch.float64, expected torch.float32 \("):
        function(**{name: torch.ones(shapes[name], dtype=torch.float64)})
    with pytest.raises(ValueError, match=rf": {name} is on meta, expected cpu"):
        function(**{name: torch.ones(shapes[name], device="meta")})


def test_integers_and_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match=r"u is torch.int64, expected float32, float64, bfloat16 or float16"):
        scan(u=torch.ones(2, 6, 5, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"x is a list, expected a torch.Tensor \[B, H, W, C\]"):
        map_scan(x=[1.0])


def test_unknown_back_ends_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"backend='gpu' is unknown; known are cpu, reference"):
        scan(backend="gpu")
    monkeypatch.setenv("MAMBASEG_BACKEND", "fast")
    with pytest.raises(ValueError, match=r"MAMBASEG_BACKEND='fast' is unknown"):
        map_scan()
    monkeypatch.setenv("MAMBASEG_BACKEND", "reference")
    assert map_scan().shape == (2, 3, 5, 6)


def test_the_operators_refuse_when_called_directly() -> None:
    if "cpu" not in ops.backends():
        pytest.skip("the extension is not built here")
    one = torch.ones(1, 2, 3)
    with pytest.raises(RuntimeError, match=r"delta has shape \[1, 2, 4\], expected \[1, 2, 3\]"):
        torch.ops.mambaseg.selective_scan(
            one, torch.ones(1, 2, 4), torch.ones(2, 1), one[:, None, :1], one[:, None, :1], None, None, False
        )
    half = one.half()
    with pytest.raises(RuntimeError, match="float32 or float64"):
        torch.ops.mambaseg.selective_scan(
            half, half, half[0, :, :1], half[:, None, :1], half[:, None, :1], None, None, False
        )
