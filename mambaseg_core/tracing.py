"""A model as one call that does not hold Python's lock: traced, compared with the model, dropped when that changes.

A network is about a thousand calls of torch from Python. Each takes the lock (the GIL), for which all threads compete.
A traced network runs the same operators in the same order in torch's own interpreter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mambaseg_core.fused.networks import FusedNetwork
from mambaseg_core.models.presets import Network
from mambaseg_core.module_parts import ModuleParts

Inputs: TypeAlias = tuple[Tensor | None, Tensor | None]  # image float32 [C, h, w] and second input float32 [T, h, w]

_CPU = torch.device("cpu")
_LOST_IN_A_TRACE = "Converting a tensor to a (NumPy array|Python list)"  # of torch's warnings


class Answer(NamedTuple):
    """What a mask takes from a model's output, in few tensors: to free one takes Python's lock.

    Attributes:
        ids: uint8 [h, w] class ids.
        confidence: float32 [h, w] softmax probability of the class.
        facts: float32, 1 if all logits are finite, else 0. [3] with the mean reliability of image and second input
            for a model that has it, else [1].
    """

    ids: Tensor
    confidence: Tensor
    facts: Tensor


def answer(
    model: nn.Module, dtype: torch.dtype, device: torch.device, image: Tensor | None, second: Tensor | None
) -> Answer:
    """Run a model on one frame, in `dtype` on `device`; the inputs are those of `Segmenter.prepare`."""
    inputs = (None if x is None else x[None].to(device, dtype) for x in (image, second))
    if isinstance(model, FusedNetwork):
        return _fused_answer(model, *inputs)
    maps: tuple[Tensor, ...] = ()
    if getattr(model, "reliability_aware", False):
        logits, maps = model.with_reliability(*inputs)  # type: ignore[operator]
    else:
        logits = model(*inputs)
    finite = torch.stack(torch.aminmax(logits)).isfinite().all()  # twelve times as fast as to ask of each
    facts = torch.stack([finite.float(), *(x.mean().float() for x in maps)])
    confidence, ids = logits.float().softmax(1).max(1)
    return Answer(ids[0].to(torch.uint8), confidence[0], facts)


def _fused_answer(model: Any, image: Tensor | None, second: Tensor | None) -> Answer:
    logits, maps = model.coarse(image, second)
    height, width = next(x.shape[2:] for x in (image, second) if x is not None)
    ids, confidence, finite = torch.ops.mambaseg.logits_to_mask(logits, height, width)
    return Answer(ids[0], confidence[0], torch.stack([finite[0], *(x.mean() for x in maps)]))


class TracedModel:
    """The `answer` of a model on the CPU for inputs of one size.

    The package's own networks take a missing input as zeros. Other models are traced for both inputs only.

    Args:
        model: A network in eval mode.
        dtype: Dtype of its features.
        first: Both inputs of a frame to trace with.
        other: Both inputs of another frame, for which trace and model must give the same bits.
        network: What runs in place of the model, such as its inference form, which its owner keeps up to date.

    Raises:
        ValueError: The trace may differ from the model; the message is the reason.
    """

    @torch.inference_mode(False)  # in which `_NoValueRead` would see less
    @torch.no_grad()
    def __init__(
        self, model: nn.Module, dtype: torch.dtype, first: Inputs, other: Inputs, network: nn.Module | None = None
    ) -> None:
        self._model, self._parts = model, ModuleParts(model)
        self._network = network = model if network is None else network
        self._shapes = [x.shape for x in first if x is not None]
        self._takes_zeros = type(model) in get_args(Network)

        if any(self._parts.hooks):
            raise ValueError("it has hooks on its forward pass, which a trace skips")
        try:
            self._traced = _trace(_Frame(network, dtype), first)
            with _NoValueRead():  # type: ignore[no-untyped-call]
                expected = answer(network, dtype, _CPU, *other)
            same = all(map(_equal, expected, self(*other)))
        except Exception as error:  # a model of the user's own may raise anything
            raise ValueError(str(error).strip().partition("\n")[0] or type(error).__name__) from error
        if not same:
            raise ValueError("a traced copy gives another mask than the model")
        if not self._parts.unchanged():
            raise ValueError("it changes its own attributes while it runs")

    def __call__(self, image: Tensor | None, second: Tensor | None) -> Answer:
        """Return the `answer` for inputs that `fits` accepts."""
        pair = (torch.zeros(shape) if x is None else x for x, shape in zip((image, second), self._shapes, strict=True))
        # otherwise torch compiles anew in each of the first calls
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return Answer(*self._traced(*pair)[:3])

    def fits(self, image: Tensor | None, second: Tensor | None) -> bool:
        """Return True if inputs have the sizes that were traced, and autocast is off as it was then."""
        pairs = zip((image, second), self._shapes, strict=True)
        sizes = all(self._takes_zeros if x is None else x.shape == shape for x, shape in pairs)
        return sizes and not torch.is_autocast_enabled("cpu") and not (image is None and second is None)

    def is_of(self, model: nn.Module, network: nn.Module | None = None) -> bool:
        """Return True if this is the traced model with the same parts and settings; weights may have other values.

        Args:
            model: The model.
            network: What runs in its place now, which is known to be up to date.
        """
        if model is not self._model or (model if network is None else network) is not self._network:
            return False
        return self._network is not model or self._parts.unchanged()


class _Frame(nn.Module):
    """The `answer` as a module to trace: it owns the model's weights, which the tracer finds by identity.

    Torch takes Python's lock whenever it gives up its only reference to a tensor that Python knows. So the traced
    module holds all weights for good, and the inputs, returned after the answer, until its end.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._hidden = (model, dtype)  # a module of its own would be traced part by part, which takes twice as long
        for number, weight in enumerate((*model.parameters(), *model.buffers())):
            self.register_buffer(f"weight{number}", weight)

    def forward(self, image: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        model, dtype = self._hidden
        return (*answer(model, dtype, _CPU, image, second), image, second)


class _NoValueRead(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raise where Python code reads a tensor's values: a trace would repeat what one frame made it do."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would import torch's compiler, which takes longer than the trace

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = torch.Tag.data_dependent_output in func.tags
        varies = torch.Tag.dynamic_output_shape in func.tags and not _picks_by_number(func, args)
        if reads or varies:
            raise ValueError(f"its Python code depends on values of its input ({func})")
        return func(*args, **(kwargs or {}))


def _picks_by_number(func: Any, args: tuple[Any, ...]) -> bool:
    """Return True for an indexing whose result has the same shape for all values."""
    if func is not torch.ops.aten.index.Tensor:
        return False
    return all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in args[1])


def _trace(frame: _Frame, inputs: Inputs) -> Callable[..., Any]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")  # of sizes, which stay the same, and of the age of torch.jit
        warnings.filterwarnings("always", _LOST_IN_A_TRACE)
        traced: Callable[..., Any] = torch.jit.trace(frame, inputs, check_trace=False)  # type: ignore[no-untyped-call]
    if found:
        raise ValueError("its Python code takes values out of tensors, as a list or a NumPy array")
    return traced


def _equal(a: Tensor, b: Tensor) -> bool:
    """Return True for equal bits; NaN equals NaN."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())
