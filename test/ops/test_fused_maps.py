"""The fused operators on maps against their plain forms, in float64 and at odd sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mambaseg_core import extension
from mambaseg_core.ops import fused_maps

Arguments = tuple[Any, ...]
SIZES = [(1, 1), (1, 7), (2, 3), (3, 2), (5, 1), (4, 9), (7, 33), (13, 21)]
CHANNELS = [1, 3, 7, 16, 22, 33]
kernels = pytest.mark.skipif(bool(extension.MISSING), reason="the extension is not built here")


class Draw:
    """Random tensors in the order they are asked for."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(3)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)


def depthwise3x3(shape: tuple[int, ...], activation: int) -> Arguments:
    draw, channels = Draw(), shape[-1]
    return draw(*shape), draw(9, channels), draw(channels) if activation else None, activation


def norm_activation(shape: tuple[int, ...], activation: int) -> Arguments:
    draw, channels = Draw(), shape[-1]
    return 3 * draw(*shape) + 2, draw(channels), draw(channels), 1e-5, activation


def channel_attention(shape: tuple[int, ...], activation: int) -> Arguments:
    draw, two = Draw(), activation % 2
    hidden, channels = activation + 1, shape[-1] * (1 + two)
    return draw(*shape), draw(*shape) if two else None, draw(hidden, channels), draw(channels, hidden), activation


def region_means(shape: tuple[int, ...], activation: int) -> Arguments:
    draw = Draw()
    return draw(*shape), draw(shape[0], 1, 1, shape[-1]) if activation else None, 8 - activation, 3 + activation


def add_resized(shape: tuple[int, ...], activation: int) -> Arguments:
    draw = Draw()
    small = [(8, 8), (1, 1), (shape[1], shape[2]), (2, 3), (40, 50)][activation]
    scale = draw(shape[0], 1, 1, shape[-1]) if activation % 2 else None
    return draw(*shape), scale, draw(shape[0], *small, shape[-1]), activation


def three_weights(shape: tuple[int, ...], activation: int) -> Arguments:
    draw = Draw()
    return draw(*shape), draw(*shape), draw(16, 6, 3, 3), draw(16), draw(3, 16, 1, 1), draw(3) + activation


def spatial_attention(shape: tuple[int, ...], activation: int) -> Arguments:
    draw = Draw()
    wide = draw(*shape[:-1], shape[-1] * (1 + activation))
    return wide[..., activation * shape[-1] :], draw(*shape) if activation % 2 else None, draw(1, 2, 7, 7) / 5


def logits_to_mask(shape: tuple[int, ...], activation: int) -> Arguments:
    height, width = [(shape[1], shape[2]), (4 * shape[1], 4 * shape[2]), (9, 30), (1, 1), (11, 5)][activation]
    return Draw()(*shape), height, width


def interleave_steps(shape: tuple[int, ...], activation: int) -> Arguments:
    draw, steps = Draw(), activation + 1
    wide = (*shape[:-1], shape[-1] * steps)
    return draw(*wide), draw(*wide), steps


def merge_steps(shape: tuple[int, ...], activation: int) -> Arguments:
    batch, height, width, channels = shape
    return (Draw()(batch * height * width, 2, channels, 2 * (activation + 1)),)


MAKERS = [
    depthwise3x3,
    norm_activation,
    channel_attention,
    region_means,
    add_resized,
    three_weights,
    spatial_attention,
    interleave_steps,
    merge_steps,
    logits_to_mask,
]
every_operator = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def operator(make: Callable[..., Arguments]) -> Callable[..., Any]:
    return getattr(torch.ops.mambaseg, make.__name__)


def plain(make: Callable[..., Arguments]) -> Callable[..., Any]:
    return getattr(fused_maps, make.__name__)


def results(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)


def in_float64(arguments: Arguments) -> Arguments:
    return tuple(v.double() if isinstance(v, Tensor) else v for v in arguments)


@every_operator
@pytest.mark.parametrize("activation", range(5))
@pytest.mark.parametrize("channels", CHANNELS)
def test_the_numbers_of_float64(make: Callable[..., Arguments], activation: int, channels: int) -> None:
    for size in SIZES:
        arguments = make((2, *size, channels), activation)
        got, wanted = results(operator(make)(*arguments)), results(plain(make)(*in_float64(arguments)))
        for a, b in zip(got, wanted, strict=True):
            assert a.shape == b.shape
            assert a.is_contiguous()
            if a.dtype == torch.uint8:
                assert torch.equal(a, b)
            else:
                torch.testing.assert_close(a.double(), b.double(), rtol=5e-6, atol=5e-6)


@pytest.mark.usefixtures("poison")
@every_operator
def test_every_output_is_written(make: Callable[..., Arguments]) -> None:
    for shape in ((2, 5, 9, 7), (1, 1, 1, 1), (1, 3, 40, 32)):
        for activation in range(5):
            for tensor in results(operator(make)(*make(shape, activation))):
                assert tensor.isfinite().all()


@kernels
@pytest.mark.usefixtures("threads")
@every_operator
def test_the_number_of_threads_changes_no_bit(make: Callable[..., Arguments]) -> None:
    arguments = make((2, 61, 83, 33), 2)
    torch.set_num_threads(1)
    wanted = results(operator(make)(*arguments))
    for count in (2, 3):
        torch.set_num_threads(count)
        assert all(map(torch.equal, wanted, results(operator(make)(*arguments))))


def strided(value: Any) -> Any:
    """Return the tensor with other memory around each of its numbers."""
    if not isinstance(value, Tensor):
        return value
    wide = torch.full((*value.shape, 2), float("nan"))
    wide[..., 1] = value
    return wide[..., 1]


def channels_first(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dim() != 4:
        return value
    return value.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


@every_operator
@pytest.mark.parametrize("change", [strided, channels_first])
def test_strides_change_nothing(make: Callable[..., Arguments], change: Callable[[Any], Any]) -> None:
    for shape in ((2, 5, 9, 7), (1, 1, 6, 5), (2, 6, 1, 5), (2, 1, 1, 3), (3, 4, 5, 1)):
        arguments = make(shape, 3)
        wanted = results(operator(make)(*arguments))
        for a, b in zip(results(operator(make)(*map(change, arguments))), wanted, strict=True):
            torch.testing.assert_close(a, b)


@every_operator
def test_arguments_are_not_written_to(make: Callable[..., Arguments]) -> None:
    arguments = make((2, 5, 9, 7), 3)
    before = [v.clone() for v in arguments if isinstance(v, Tensor)]
    for result in results(operator(make)(*arguments)):
        result.zero_()
    assert all(map(torch.equal, before, (v for v in arguments if isinstance(v, Tensor))))


ON_MAPS = [make for make in MAKERS if make not in (merge_steps, logits_to_mask)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("make", ON_MAPS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("activation", range(5))
def test_values_that_are_not_finite_reach_the_result(
    make: Callable[..., Arguments], activation: int, value: float
) -> None:
    for channel in (0, 17, 32):
        x, *rest = make((2, 6, 20, 33), activation)
        x[0, 2, 11, channel] = value
        got, wanted = operator(make)(x, *rest), plain(make)(*in_float64((x, *rest)))
        assert not got[0].isfinite().all() or wanted[0].isfinite().all()
        assert torch.equal(got.isnan(), wanted.isnan())
        torch.testing.assert_close(got.double(), wanted, rtol=2e-5, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("index", [0, 5, 10])
def test_logits_that_are_not_finite_are_reported(value: float, index: int) -> None:
    logits = Draw()(1, 6, 9, 11)
    assert torch.ops.mambaseg.logits_to_mask(logits, 24, 36)[2].tolist() == [1.0]
    logits[0, 5, 8, index] = value
    assert torch.ops.mambaseg.logits_to_mask(logits, 24, 36)[2].tolist() == [0.0]


def test_large_logits_are_finite_and_a_tie_goes_to_the_first_class() -> None:
    logits = torch.zeros(1, 2, 3, 7)
    logits[..., 4] = logits[..., 2] = 3e38
    ids, confidence, finite = torch.ops.mambaseg.logits_to_mask(logits, 5, 9)
    assert (ids == 2).all()
    assert (confidence == 0.5).all()
    assert finite.item() == 1


@every_operator
def test_opcheck(make: Callable[..., Arguments]) -> None:
    for activation in (0, 3):
        torch.library.opcheck(operator(make).default, make((2, 5, 4, 7), activation))


@every_operator
def test_a_gradient_is_refused(make: Callable[..., Arguments]) -> None:
    x, *rest = make((1, 5, 4, 7), 1)
    y = results(operator(make)(x.clone().requires_grad_(), *rest))[1 if make is logits_to_mask else 0]
    with pytest.raises(RuntimeError, match=f"{make.__name__} is for inference and has no gradient"):
        y.sum().backward()


ONE = torch.ones(1, 2, 3, 4)
WRONG: list[tuple[str, Arguments, str]] = [
    ("depthwise3x3", (ONE[0], torch.ones(9, 4), None, 0), r"x has shape \[2, 3, 4\], expected 4 dimensions"),
    ("depthwise3x3", (ONE, torch.ones(9, 5), None, 0), r"weight has shape \[9, 5\], expected \[9, 4\]"),
    ("depthwise3x3", (ONE, torch.ones(9, 4), ONE, 0), r"bias has shape .*, expected \[4\]"),
    ("depthwise3x3", (ONE, torch.ones(9, 4), None, 5), r"activation is 5, expected 0 \(none\)"),
    ("depthwise3x3", (ONE.double(), torch.ones(9, 4), None, 0), "x is not float32"),
    ("depthwise3x3", (ONE, torch.ones(9, 4).double(), None, 0), "weight has another dtype"),
    ("depthwise3x3", (ONE[:, :0], torch.ones(9, 4), None, 0), r"x has shape \[1, 0, 3, 4\], expected at least one row"),
    ("norm_activation", (ONE, torch.ones(5), torch.ones(4), 1e-5, 0), r"weight has shape \[5\], expected \[4\]"),
    ("norm_activation", (ONE, torch.ones(4), torch.ones(4), 1e-5, -1), "activation is -1"),
    ("norm_activation", (ONE[..., :0], torch.ones(0), torch.ones(0), 1e-5, 0), "expected at least one channel"),
    ("channel_attention", (ONE, ONE[:, :1], ONE[0, 0], ONE[0, 0].mT, 1), r"b has shape \[1, 1, 3, 4\]"),
    ("channel_attention", (ONE, ONE, torch.ones(2, 4), torch.ones(8, 2), 1), r"fc1 has shape \[2, 4\]"),
    ("channel_attention", (ONE, None, torch.ones(2, 4), torch.ones(4, 3), 1), r"fc2 has shape \[4, 3\]"),
    ("region_means", (ONE, ONE, 2, 2), r"scale has shape .*, expected \[1, 1, 1, 4\]"),
    ("region_means", (ONE, None, 0, 2), r"the grid is \[0, 2\], expected 1 or more"),
    ("add_resized", (ONE, None, ONE[..., :3], 0), r"small has shape \[1, 2, 3, 3\], expected \[1, 2, 3, 4\]"),
    ("add_resized", (ONE, None, ONE[:, :0], 0), r"small has shape \[1, 0, 3, 4\], expected at least one row"),
    ("three_weights", (ONE, ONE, *([torch.ones(3)] * 4)), r"conv1 has shape \[3\], expected \[16, 6, 3, 3\]"),
    ("spatial_attention", (ONE, None, torch.ones(1, 2, 5, 5)), r"weight has shape .*, expected \[1, 2, 7, 7\]"),
    ("spatial_attention", (ONE, ONE[..., :2], torch.ones(1, 2, 7, 7)), r"y has shape \[1, 2, 3, 2\]"),
    ("interleave_steps", (ONE, ONE[..., :2], 2), r"b has shape \[1, 2, 3, 2\], expected \[1, 2, 3, 4\]"),
    ("interleave_steps", (ONE, ONE, 3), "a has 4 channels and 3 steps, expected a multiple"),
    ("merge_steps", (ONE[0],), r"y has shape \[2, 3, 4\], expected 4 dimensions"),
    ("merge_steps", (ONE[..., :3],), r"y has shape \[1, 2, 3, 3\], expected 2 directions and an even number"),
    ("logits_to_mask", (ONE, 0, 5), r"the size is \[0, 5\], expected 1 or more"),
    ("logits_to_mask", (torch.ones(1, 1, 1, 257), 2, 2), "logits has 257 classes, expected 256 at most"),
]


@kernels
@pytest.mark.parametrize(("name", "arguments", "sentence"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_arguments_are_named(name: str, arguments: Arguments, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=f"{name}: .*{sentence}"):
        getattr(torch.ops.mambaseg, name)(*arguments)


def test_an_empty_batch_stays_empty() -> None:
    assert torch.ops.mambaseg.depthwise3x3(ONE[:0], torch.ones(9, 4), None, 0).shape == (0, 2, 3, 4)
    assert torch.ops.mambaseg.norm_activation(ONE[:0], torch.ones(4), torch.ones(4), 1e-5, 2).shape == (0, 2, 3, 4)
    assert torch.ops.mambaseg.logits_to_mask(ONE[:0], 5, 6)[0].shape == (0, 5, 6)
