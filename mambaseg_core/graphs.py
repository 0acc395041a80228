"""A model on a GPU as one CUDA graph a set of inputs, with static buffers; the same function eagerly where that fails.

A network is about a thousand launches from Python. A graph holds them all, from the image's bytes to those of the mask.
Nothing here has run on a GPU yet.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mambaseg_core.models.presets import Network
from mambaseg_core.module_parts import ModuleParts
from mambaseg_core.ops.voxel_grid import scatter_
from mambaseg_core.precision import float32_products
from mambaseg_core.preprocessing import Image, PackedEvents, Preprocessing
from mambaseg_core.tracing import Answer, _NoValueRead, answer

Plane = npt.NDArray[np.float32]

_EVENTS: Final = 1 << 17  # packed events that fit before memory must grow: 1 MiB
_SETS: Final = ((True, True), (True, False), (False, True))  # of image and second input
_CAPTURING: Final = threading.RLock()  # a capture fails if another thread waits for the whole device
_STREAMS: set[tuple[torch.device, int]] = set()  # of living `CapturedModel`s


class Frame(NamedTuple):
    """What `Segmenter` takes from a GPU, as arrays of its own; see `tracing.Answer`."""

    ids: Image
    confidence: Plane
    facts: list[float]


class CapturedModel:
    """The `tracing.answer` of a model on a device, from arrays on the CPU to such arrays, with one synchronization.

    Image and mask travel as bytes, events packed, through pinned memory, on a stream of its own. Before `capture`, for
    inputs that were not captured, and under autocast, the model runs eagerly on the same buffers. Threads take turns:
    all cameras of a model share its buffers, because a graph keeps the memory of all the model's features.

    Args:
        model: A network in eval mode, on the device.
        dtype: Dtype of its features.
        device: Where it runs.
        setup: What gives the inputs their sizes.
        precision: Of float32 products, see `precision.float32_products`; a graph keeps it.
        cuda: `torch.cuda`; None for a device without streams, pinned memory and graphs.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        device: torch.device,
        setup: Preprocessing,
        precision: str,
        cuda: Any = None,
    ) -> None:
        self._model, self._dtype, self._device, self._setup, self._cuda = model, dtype, device, setup, cuda
        self._precision = precision
        self._parts = None if isinstance(model, torch.jit.ScriptModule) else ModuleParts(model)
        self._pointers = _pointers(model)
        self._lock = threading.Lock()
        self._graphs: dict[tuple[bool, bool], Any] = {}
        self._outputs: dict[tuple[bool, bool], _Output] = {}
        if cuda is not None:
            self._stream = _own_stream(self, cuda, device)
            self._done = cuda.Event()
        with self._on_stream():
            channels = (setup.channels,) if setup.channels > 1 else ()
            self._pixels = _Upload((*setup.size, *channels), torch.uint8, device, pinned=cuda is not None)
            self._events = _Upload((_EVENTS,), torch.int64, device, pinned=cuda is not None)
            self._plane = _Upload(setup.size, torch.float32, device, pinned=cuda is not None)
            self._second = _empty((setup.bins, *setup.size), torch.float32, device)
            self._grid = _empty((0,), torch.float32, device)  # before crop and resize, of the largest sensor so far
            scale = np.arange(256, dtype=np.float32) / np.float32(255.0)  # as the CPU divides, bit for bit
            self._scale = torch.from_numpy(scale).to(device, dtype)

    @property
    def captured(self) -> bool:
        """Whether there are graphs."""
        return bool(self._graphs)

    def is_of(self, model: nn.Module, setup: Preprocessing) -> bool:
        """Return True if model and preprocessing are still those of the buffers and graphs.

        Weights may have other values. They may have moved only while nothing is captured.
        """
        if model is not self._model or setup != self._setup:
            return False
        return not self._graphs or self._is_unchanged()

    def _is_unchanged(self) -> bool:
        return self._parts is not None and self._parts.unchanged() and _pointers(self._model) == self._pointers

    @torch.inference_mode()
    def __call__(self, pixels: Image | None, second: PackedEvents | Plane | None) -> Frame:
        """Run one frame.

        Args:
            pixels: uint8 of `Preprocessing.image_pixels`; None: there is no image.
            second: Events of `Preprocessing.packed_events` or an image of `Preprocessing.second_plane`, or None.

        Raises:
            ValueError: The image has other channels than the model takes, or the model refuses its inputs.
        """
        given = pixels is not None, second is not None
        with self._lock, self._on_stream():
            self._upload(pixels, second)
            graph = self._graphs.get(given)
            if graph is None or torch.is_autocast_enabled(self._device.type):
                self._run(given)
            else:
                _replay(graph)
            output = self._outputs[given]
            output.host.copy_(output.memory, non_blocking=True)
            if self._cuda is not None:
                self._done.record()
                self._done.synchronize()  # the only wait for the device
            return output.read()

    @torch.inference_mode(False)  # in which `_NoValueRead` would see less
    @torch.no_grad()
    def capture(self) -> None:
        """Capture a graph for each set of inputs: all three of the package's own networks, both inputs of others.

        Raises:
            ValueError: A graph may differ from the model, and there is none now; the message is the reason.
        """
        try:
            if self._parts is None:
                raise ValueError("it is TorchScript")
            if any(self._parts.hooks):
                raise ValueError("it has hooks on its forward pass, which a graph skips")
            # autocast keeps copies of weights, and a graph would go on to read them
            with self._lock, torch.autocast(self._device.type, enabled=False), self._on_stream():
                for given in _SETS if type(self._model) in get_args(Network) else _SETS[:1]:
                    self._capture(given)
            if not self._is_unchanged():
                raise ValueError("it changes its own attributes while it runs")
        except Exception as error:  # a model of the user's own, and CUDA, may raise anything
            self._graphs.clear()
            cause = error.__context__ or error  # the end of a capture that failed raises too, and says less
            raise ValueError(str(cause).strip().partition("\n")[0] or type(cause).__name__) from error

    def _capture(self, given: tuple[bool, bool]) -> None:
        with _NoCopy():  # type: ignore[no-untyped-call]
            self._run(given)  # also compiles and allocates all that the capture must not
        output = self._outputs[given]
        expected = output.memory.clone()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None  # graphs run one after the other
        graph = self._cuda.CUDAGraph()
        with _CAPTURING, self._cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            self._run(given)
        if self._outputs[given] is not output:
            raise ValueError("its mask has another size in every frame")
        output.memory.zero_()
        _replay(graph)
        if not output.agrees(expected):
            raise ValueError("a captured copy gives another mask than the model")
        self._graphs[given] = graph

    def _upload(self, pixels: Image | None, second: PackedEvents | Plane | None) -> None:
        """Bring a frame into the static buffers; a voxel grid is made, cropped and resized on the device."""
        if pixels is not None:
            if pixels.shape != self._pixels.shape:
                raise ValueError(
                    f"the image has shape {list(pixels.shape)}, expected {list(self._pixels.shape)}: the preprocessing "
                    f"has {self._setup.channels} channels; choose 1 (grey) or 3 (RGB)"
                )
            self._pixels.put(pixels)
        if isinstance(second, PackedEvents):
            shape = self._setup.bins, *second.size
            if self._grid.numel() < (cells := int(np.prod(shape))):
                self._grid = _empty((cells,), torch.float32, self._device)
            grid = self._grid[:cells].view(shape)
            scatter_(grid, self._events.put(second.packed))
            self._second.copy_(self._setup.resized_grid(grid))
        elif second is not None:
            self._second.copy_(self._plane.put(second).view(self._setup.size).expand_as(self._second))

    def _run(self, given: tuple[bool, bool]) -> None:
        """Run the model on the static buffers, and put what it answers into the output's."""
        image = None
        if given[0]:
            image = unit_image(self._pixels.memory.view(self._pixels.shape), self._scale)
        with float32_products(self._precision, self._device):
            found = answer(self._model, self._dtype, self._device, image, self._second if given[1] else None)
        output = self._outputs.get(given)
        if output is None or not output.fits(found):
            output = self._outputs[given] = _Output(found, self._device, pinned=self._cuda is not None)
        output.write(found)

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """Work on the own stream, after what this thread has launched before (as new values of weights)."""
        if self._cuda is None:
            yield
            return
        self._stream.wait_stream(self._cuda.current_stream(self._device))
        with self._cuda.stream(self._stream):
            try:
                yield
            except BaseException:
                self._stream.synchronize()  # pinned memory is still read until then
                raise


def unit_image(pixels: Tensor, scale: Tensor) -> Tensor:
    """Return an image [C, h, w] in 0..1 from its bytes [h, w] or [h, w, C] by a table [256] of their values.

    On CUDA a division by a number is a product with its reciprocal, whose last bit may differ.
    """
    image = scale[pixels.long()]
    return image[None] if image.dim() == 2 else image.permute(2, 0, 1)


def _replay(graph: Any) -> None:
    """Run a graph while nothing is captured: torch 2.6 refuses it then."""
    with _CAPTURING:
        graph.replay()


def empty_cache() -> None:
    """Give back what torch's allocator keeps on the GPUs, while nothing is captured.

    Nothing comes back after an error that ends all use of a GPU in this process, as an illegal access does.
    """
    with _CAPTURING, suppress(RuntimeError):
        torch.cuda.empty_cache()


class _NoCopy(_NoValueRead):  # type: ignore[no-untyped-call]
    """Raise also where data move between the CPU and the device: they would be waited for, and end a capture.

    After a capture that failed, torch's allocator and generator go on as if it were still under way.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        packet = func._overloadpacket
        if packet in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            tensors = [x for x in tree_leaves((args, result)) if isinstance(x, Tensor)]
            copies = len({x.device.type for x in tensors}) > 1
        else:
            copies = packet is torch.ops.aten.lift_fresh  # of `torch.tensor([...], device=...)`
        if copies:
            raise ValueError(f"it copies between the CPU and the GPU ({func})")
        return result


class _Upload:
    """Flat memory on a device, with pinned memory of the same size beside it; both grow by doubling."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, *, pinned: bool) -> None:
        self.shape = shape
        self._dtype, self._device, self._pinned = dtype, device, pinned
        self._allocate(int(np.prod(shape)))

    def _allocate(self, size: int) -> None:
        self.memory = _empty((size,), self._dtype, self._device)
        self._host = _empty_host((size,), self._dtype, pinned=self._pinned)
        self._array = self._host.numpy()

    def put(self, values: npt.NDArray[Any]) -> Tensor:
        """Copy values to the device, and return them there, flat; the copy may still be under way."""
        size = values.size
        if size > len(self.memory):
            self._allocate(max(size, 2 * len(self.memory)))
        self._array[:size] = values.reshape(-1)
        there = self.memory[:size]
        return there.copy_(self._host[:size], non_blocking=True)


class _Output:
    """The bytes of an `Answer` in one piece on a device, and their place in pinned memory."""

    def __init__(self, found: Answer, device: torch.device, *, pinned: bool) -> None:
        self._shapes = tuple(part.shape for part in found)
        cells, facts = found.ids.numel(), found.facts.numel()
        self.memory = _empty((5 * cells + 4 * facts,), torch.uint8, device)
        self.host = _empty_host(self.memory.shape, torch.uint8, pinned=pinned)
        self._parts, self._arrays = self._views(self.memory), [part.numpy() for part in self._views(self.host)]

    @torch.inference_mode(False)  # a view made in inference mode could be written to in it only, not in a capture
    def _views(self, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids, confidence, facts = self._shapes
        floats, last = memory[: -ids.numel()].view(torch.float32), memory[-ids.numel() :]
        return last.view(ids), floats[: confidence.numel()].view(confidence), floats[confidence.numel() :].view(facts)

    def fits(self, found: Answer) -> bool:
        return tuple(part.shape for part in found) == self._shapes

    def write(self, found: Answer) -> None:
        for part, values in zip(self._parts, found, strict=True):
            part.copy_(values)

    def read(self) -> Frame:
        """Return copies of what has come down."""
        ids, confidence, facts = self._arrays
        return Frame(ids.copy(), confidence.copy(), facts.tolist())

    def agrees(self, expected: Tensor) -> bool:
        """Return True if nearly all ids and the confidences are those of `expected`; kernels may add in any order."""
        (ids, confidence, facts), (others, other_confidence, other_facts) = self._parts, self._views(expected)
        same = (ids == others).float().mean() >= 0.99
        near = (confidence - other_confidence).nan_to_num().abs().mean() <= 0.01
        return bool(same & near & torch.isclose(facts, other_facts, atol=0.01, equal_nan=True).all())


@torch.inference_mode(False)  # a tensor made in inference mode could be written to in it only
def _empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


@torch.inference_mode(False)
def _empty_host(shape: tuple[int, ...], dtype: torch.dtype, *, pinned: bool) -> Tensor:
    memory = torch.zeros(shape, dtype=dtype)
    return memory.pin_memory() if pinned else memory


def _pointers(model: nn.Module) -> list[int]:
    """Return where the weights lie: a graph reads them there, also after `weight.data = ...` put others in place."""
    return [weight.data_ptr() for weight in (*model.parameters(), *model.buffers())]


def _own_stream(owner: CapturedModel, cuda: Any, device: torch.device) -> Any:
    """Return a stream that no other living owner has: torch hands out the same few again and again."""
    with _CAPTURING:
        for _ in range(64):
            stream = cuda.Stream(device)
            name = device, stream.cuda_stream
            if name not in _STREAMS:
                _STREAMS.add(name)
                weakref.finalize(owner, _STREAMS.discard, name)
                break
    return stream
