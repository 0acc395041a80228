"""`Segmenter`: an image and its events to a mask; the only door from ROS into the models."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.engines.network import EngineNetwork
from mambaseg_core.engines.open import check_engine, is_exported, open_network
from mambaseg_core.events import Events
from mambaseg_core.fused.form import InferenceForm, has_form
from mambaseg_core.graphs import CapturedModel
from mambaseg_core.labels import IGNORE
from mambaseg_core.memory import keep_memory
from mambaseg_core.models.presets import preprocessing_of
from mambaseg_core.models.released.unit_inputs import with_unit_inputs
from mambaseg_core.ops import selection
from mambaseg_core.precision import choose_precision, float32_products, lowered, rounds_factors, why_slow
from mambaseg_core.preprocessing import Image, Preprocessing, Reading, check_registered
from mambaseg_core.tracing import Inputs, TracedModel, answer


@dataclass(frozen=True)
class Mask:
    """A mask in the model's view.

    Attributes:
        ids: uint8 [h, w] class ids.
        confidence: float32 [h, w] softmax probability of the class in `ids`.
        prepare_ms: time spent on warp, rectification, voxel grid and resizing, milliseconds; on a GPU only the CPU's
            part of it, in which events are packed and not yet a voxel grid.
        inference_ms: time spent in the model, milliseconds; on a GPU from the upload to the mask in the CPU's memory,
            with the voxel grid, and with the wait for a frame of another thread or camera of the same model.
        reliability: mean over the mask of how far the model trusted the image and the second input, 0 to 1; None for a
            model without reliability (`reliability_aware`).
    """

    ids: Image
    confidence: npt.NDArray[np.float32]
    prepare_ms: float
    inference_ms: float
    reliability: tuple[float, float] | None = None


@dataclass(frozen=True)
class PreparedImage:
    """An image that is ready for the model, for several masks of one image; see `Segmenter.prepare_image`.

    Attributes:
        shape: (height, width) of the camera's image, pixels.
        pixels: uint8 [h, w] or [h, w, C], cropped and resized.
        tensor: float32 [C, h, w], the same in 0..1; None on a GPU, which scales the pixels itself.
        calibration: by which it was warped.
        preprocessing: by which it was cropped and resized.
    """

    shape: tuple[int, int]
    pixels: Image
    tensor: torch.Tensor | None
    calibration: Calibration | None
    preprocessing: Preprocessing


def choose_device(device: str) -> torch.device:
    """Return a torch device for "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    That of CUDA has a number, so that it is the same in every thread.

    Raises:
        ValueError: the name is not a device, or this machine has none of the kind.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no CUDA device here: use 'auto' or 'cpu'")
    return selection.numbered(chosen)


class Segmenter:
    """Runs a model on sensor data.

    Args:
        model_or_checkpoint: a model of `create_model`, or the path of a checkpoint of ours or of a file of `mambaseg
            export`. A Sigma into which `load_released_state_dict` has put the authors' weights is copied, for inputs
            of 0 to 1.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "float32", "bfloat16" or, on a GPU, "tf32" or "float16". On the CPU networks of `create_model`
            round the factors of products to bfloat16 and keep features and sums in float32; other models, and all on
            a GPU, have weights and features in it. Processors without AVX512-BF16 or AMX-BF16 and GPUs below compute
            capability 8.0 gain nothing by it, or lose. Only "tf32" lets a GPU round the factors of float32 products and
            convolutions to TF32, whatever torch's own flags allow. Scans are computed in float32 always; a given model
            is not changed.
        preprocessing: default: what the weights were trained with, else the preset's of the model's name
            (`preprocessing_of`).
        calibration: where image and events have different views (DSEC); None where both are registered.
        engine: what runs it, one of `engines.open.ENGINES`; "auto": by the file. An exported file is loaded in its own
            precision, and takes sensor data through the CPU also where its engine runs on a GPU.
        warn: called with one sentence if `precision` makes this device slower, if the best back end or the GPU that
            "auto" would take does not work, or if `warm_up` or a later change of the model leaves it without a trace.

    Attributes:
        warning: these sentences, or empty.
    """

    def __init__(
        self,
        model_or_checkpoint: nn.Module | str | Path,
        device: str = "auto",
        *,
        precision: str = "float32",
        preprocessing: Preprocessing | None = None,
        calibration: Calibration | None = None,
        engine: str = "auto",
        warn: Callable[[str], Any] = warnings.warn,
    ) -> None:
        self.warning, self._warn = "", warn
        self.calibration = calibration
        self._spare_grid: torch.Tensor | None = None  # memory of the last voxel grid
        self._form: InferenceForm | None = None  # on the CPU, where the first frame makes it
        self._traced: TracedModel | None = None
        self._captured: CapturedModel | None = None  # on a GPU, where the first frame makes it
        self._rounds_factors = False
        if not isinstance(model_or_checkpoint, nn.Module):
            check_engine(engine, model_or_checkpoint)
            if is_exported(model_or_checkpoint):
                self._open_exported(model_or_checkpoint, engine, device, precision, preprocessing)
                return
        self.device = self._working_device(device)
        self.precision, self.dtype = precision, choose_precision(precision, self.device)
        if slow := why_slow(precision, self.device):
            self._say(f"precision is {precision!r}, but {slow}: use 'float32'")
        if isinstance(model_or_checkpoint, nn.Module):
            model = with_unit_inputs(model_or_checkpoint)
        else:
            model, _ = load_checkpoint(model_or_checkpoint)
        self._rounds_factors = rounds_factors(precision, self.device) and has_form(model)
        if self._rounds_factors:
            self.dtype = torch.float32  # of the features
        elif self.dtype != torch.float32:
            model = lowered(model, self.dtype, self.device)
        self.model: nn.Module = model.eval().to(self.device)
        self.preprocessing = preprocessing or preprocessing_of(model)

    def _open_exported(
        self, path: str | Path, engine: str, device: str, precision: str, preprocessing: Preprocessing | None
    ) -> None:
        if precision != "float32":
            raise ValueError(
                f"precision is {precision!r}, but {path} has its own, which `mambaseg export` chose; expected "
                "'float32', the default: leave it out, or export with --half"
            )
        network = open_network(path, engine=engine, device=device, warn=self._say)
        self.device, self.dtype, self.precision = torch.device("cpu"), torch.float32, network.description.precision
        self.model = network.eval()
        self.preprocessing = preprocessing or network.preprocessing

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied or pickled: all but what is made again of the model, and `warn`."""
        made = dict.fromkeys(("_form", "_traced", "_captured", "_spare_grid"))
        return vars(self) | made | {"_warn": warnings.warn}

    def warm_up(self) -> None:
        """Take a frame of noise the whole way, so that no real frame is late, and trace or capture the model.

        Memory and the calibration's maps are kept. On the CPU a traced model is one call that does not hold Python's
        lock, so that busy threads do not delay it. It gives the same bits as the model, or is not used. On a GPU the
        model becomes a CUDA graph for each set of inputs. After a change of the model other than of its weights'
        values, `warm_up` must be called again.
        """
        if self.device.type == "cpu":
            keep_memory()
        self._form, self._traced, self._captured, rng = None, None, None, np.random.default_rng(0)
        image, second = self._take_noise(rng)
        if self.device.type == "cpu" and not isinstance(self.model, (torch.jit.ScriptModule, EngineNetwork)):
            self._trace(self.prepare(image, second), self.prepare(*self._noise(rng)))
        elif self._captured is not None and not isinstance(self.model, torch.jit.ScriptModule):
            self._capture(self._captured)

    def for_camera(self, calibration: Calibration | None) -> Segmenter:
        """Return a Segmenter of the same model, in the same memory, for a camera of another calibration.

        Both may be used at once, each in a thread of its own.
        """
        other = copy.copy(self)
        other.calibration, other._warn = calibration, self._warn
        other._form, other._traced, other._captured = self._form, self._traced, self._captured
        other._take_noise(np.random.default_rng(0))
        return other

    def _take_noise(self, rng: np.random.Generator) -> tuple[Image, Events | Reading]:
        """Take a frame of noise the whole way, and return it."""
        image, second = self._noise(rng)
        mask = self.segment(image, second)
        self.to_camera(mask.ids, image.shape[:2])
        return image, second

    def _noise(self, rng: np.random.Generator) -> tuple[Image, Events | Reading]:
        """Return a random image and second input of the sizes that are expected."""
        setup, calibration = self.preprocessing, self.calibration
        image_size = setup.view_size if calibration is None else calibration.image_size
        height, width = setup.view_size if calibration is None else calibration.event_raw.size
        channels = (setup.channels,) if setup.channels > 1 else ()
        image = rng.integers(0, 256, (*image_size, *channels), np.uint8)
        if setup.second != "events":
            return image, rng.integers(0, 256, (height, width), np.uint8)
        x, y, t_ns, p = (rng.integers(0, below, 10_000) for below in (width, height, 50_000_000, 2))
        return image, Events.from_arrays(x, y, np.sort(t_ns), p, height=height, width=width)

    def _trace(self, first: Inputs, other: Inputs) -> None:
        try:
            self._traced = TracedModel(self.model, self.dtype, first, other, self._network())
        except ValueError as error:
            self._say(
                f"the model cannot be traced: {error}; its masks are the same without, but late where other threads "
                "are busy: use a network of `create_model`, or one whose Python code does the same in every frame"
            )

    def _capture(self, captured: CapturedModel) -> None:
        try:
            captured.capture()
        except ValueError as error:
            self._say(
                f"the model cannot be captured in a CUDA graph: {error}; its masks are the same without, but each "
                "frame waits for Python: use a network of `create_model`, or one whose Python code does the same in "
                "every frame"
            )

    def _working_device(self, device: str) -> torch.device:
        """Return the device of that name, proven; the CPU in place of a broken GPU if "auto" left it open."""
        chosen = choose_device(device)
        try:
            backend, reason = selection.explain(chosen)
        except selection.DeviceError as error:
            if device != "auto":
                raise
            self._say(f"{error}; the model runs on the CPU")
            return torch.device("cpu")
        if reason and chosen.type != "cpu":
            self._say(f"scans on {chosen} run on the back end {backend!r}, which may be slow: {reason}")
        return chosen

    def _say(self, sentence: str) -> None:
        self.warning = f"{self.warning}; {sentence}" if self.warning else sentence
        self._warn(sentence)

    def prepare_image(self, image: Image) -> PreparedImage:
        """Warp, crop, resize and scale an image once, for several masks with other events each.

        Args:
            image: uint8 [H, W] or RGB [H, W, 3] in the camera's view, any resolution.

        Returns:
            what `segment` takes in place of the image, with the same masks bit for bit.
        """
        pixels = self._image_pixels(image).copy()  # they may be the image's own memory
        tensor = self.preprocessing.unit_tensor(pixels) if self.device.type == "cpu" else None
        size = image.shape[0], image.shape[1]
        return PreparedImage(size, pixels, tensor, self.calibration, self.preprocessing)

    def segment(
        self,
        image: Image | PreparedImage | None,
        second: Events | Reading | None,
        edges_ns: npt.NDArray[np.int64] | None = None,
    ) -> Mask:
        """Segment one image with its second input, or one of them alone.

        The window of events may end later than the image's stamp: the mask then is of the window's end. A model learns
        to use old images by `data.image_age_ms` of its training.

        Args:
            image: uint8 [H, W] or RGB [H, W, 3] in the camera's view, any resolution, or one of `prepare_image`; None:
                there is none.
            second: the raw events of a window (`EventBuffer.window`); may be empty. For a model of thermal or
                depth images, the second image, [H, W], registered to the image. None: there is none.
            edges_ns: the window's edges on the raw events (`Window.edges_ns`); default: made from the events.

        Returns:
            the mask in the model's view, which is the (rectified) event camera's; `to_camera` maps it back.

        Raises:
            ValueError: image and second are both None, one is not what the model takes, both cannot be one view
                (`check_registered`), the image was prepared by another Segmenter, preprocessing or calibration, or
                the model's logits are not finite.
        """
        if self.device.type == "cuda":
            return self._segment_on_device(image, second, edges_ns)
        start = time.perf_counter()
        grid = self._take_grid(second)
        image_tensor, voxel_tensor = self._prepare(image, second, edges_ns, grid)
        prepared = time.perf_counter()
        ids, confidence, reliability = self._infer(image_tensor, voxel_tensor)
        done = time.perf_counter()
        self._spare_grid = grid
        return Mask(
            ids, confidence, prepare_ms=1e3 * (prepared - start), inference_ms=1e3 * (done - prepared),
            reliability=reliability,
        )  # fmt: skip

    def _segment_on_device(
        self,
        image: Image | PreparedImage | None,
        second: Events | Reading | None,
        edges_ns: npt.NDArray[np.int64] | None,
    ) -> Mask:
        """Segment as `segment` does, with all but the geometry and the packing of events on the device."""
        start = time.perf_counter()
        setup, calibration, captured = self.preprocessing, self.calibration, self._on_device()
        self._check_inputs(image, second)
        packed = None
        pixels = None if image is None else self._image_pixels(image)
        if isinstance(second, Events):
            packed = setup.packed_events(second, edges_ns, calibration)
        plane = None if second is None or packed is not None else setup.second_plane(second)  # type: ignore[arg-type]
        prepared = time.perf_counter()
        frame = captured(pixels, plane if packed is None else packed)
        done = time.perf_counter()
        return Mask(
            frame.ids, frame.confidence, prepare_ms=1e3 * (prepared - start), inference_ms=1e3 * (done - prepared),
            reliability=_checked(frame.facts),
        )  # fmt: skip

    def _on_device(self) -> CapturedModel:
        """Return the model's buffers, and its graphs while they are those of the model as it is now."""
        captured = self._captured
        if captured is not None and captured.is_of(self.model, self.preprocessing):
            return captured
        if captured is not None and captured.captured:
            self._say("the model has changed since `warm_up` and runs without its graphs: call `warm_up` again")
        cuda = torch.cuda if self.device.type == "cuda" else None
        self._captured = captured = CapturedModel(
            self.model, self.dtype, self.device, self.preprocessing, self.precision, cuda
        )
        return captured

    def _is_own(self, image: PreparedImage) -> bool:
        return image.calibration is self.calibration and image.preprocessing == self.preprocessing

    def _image_pixels(self, image: Image | PreparedImage) -> Image:
        if isinstance(image, PreparedImage):
            return image.pixels
        calibration = self.calibration
        return self.preprocessing.image_pixels(image if calibration is None else calibration.warp_image(image))

    def _check_inputs(self, image: Image | PreparedImage | None, second: Events | Reading | None) -> None:
        if isinstance(image, PreparedImage) and not self._is_own(image):
            raise ValueError(
                f"the image was prepared to {list(image.pixels.shape)} by another Segmenter, preprocessing or "
                f"calibration; expected one of this Segmenter's prepare_image, of {list(self.preprocessing.size)}: "
                "prepare it again"
            )
        if self.calibration is None and image is not None and second is not None:
            check_registered(
                image.shape[:2], (second.height, second.width) if isinstance(second, Events) else second.shape[:2]
            )
        if second is not None:
            self.preprocessing.check_kind(second)

    def prepare(
        self, image: Image | None, second: Events | Reading | None, edges_ns: npt.NDArray[np.int64] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the model's inputs: image float32 [C, h, w] in 0..1 and voxel grid float32 [T, h, w], on the CPU."""
        return self._prepare(image, second, edges_ns, None)

    def _prepare(
        self,
        image: Image | PreparedImage | None,
        second: Events | Reading | None,
        edges_ns: npt.NDArray[np.int64] | None,
        grid: torch.Tensor | None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        setup, calibration = self.preprocessing, self.calibration
        self._check_inputs(image, second)
        tensor = image.tensor if isinstance(image, PreparedImage) else None
        if image is not None and tensor is None:
            tensor = setup.unit_tensor(self._image_pixels(image))
        return (
            tensor,
            None if second is None else setup.second_input(second, edges_ns, calibration, grid),
        )

    def _take_grid(self, second: Events | Reading | None) -> torch.Tensor | None:
        """Return memory for a voxel grid: the last one's if it fits. A second thread finds none and makes its own."""
        if not isinstance(second, Events):
            return None
        spare, self._spare_grid = self._spare_grid, None
        size = self.calibration.event_size if self.calibration else (second.height, second.width)
        shape = (self.preprocessing.bins, *size)
        return spare if spare is not None and spare.shape == shape else torch.empty(shape, device=self.device)

    def to_camera(self, ids: Image, image_size: tuple[int, int]) -> Image:
        """Map class ids [h, w] of the model's view to the camera image.

        Args:
            ids: uint8 [h, w] as `Mask.ids`.
            image_size: (height, width) of the camera image, pixels.

        Returns:
            uint8 [H, W]: nearest, 255 where the model saw nothing.
        """
        if self.calibration is None:
            return self.preprocessing.mask_in_view(ids, image_size)
        view = self.preprocessing.mask_in_view(ids, self.calibration.event_size)
        return self.calibration.warp_mask_to_image(view, fill=IGNORE)

    @torch.inference_mode()
    def _infer(
        self, image: torch.Tensor | None, second: torch.Tensor | None
    ) -> tuple[Image, npt.NDArray[np.float32], tuple[float, float] | None]:
        if isinstance(self.model, EngineNetwork):
            result = self.model.answer(image, second)
            return result.ids.numpy(), result.confidence.numpy(), _checked(result.facts.tolist())
        network = self._network()
        traced = None if torch.is_autocast_enabled(self.device.type) else self._traced
        if traced is not None and not traced.is_of(self.model, network):
            self._traced = traced = None
            self._say("the model has changed since `warm_up` and runs without its trace: call `warm_up` again")
        if traced is not None and traced.fits(image, second):
            result = traced(image, second)
        else:
            with float32_products(self.precision, self.device):
                result = answer(network, self.dtype, self.device, image, second)
        reliability = _checked(result.facts.tolist())
        return result.ids.numpy(force=True), result.confidence.numpy(force=True), reliability

    def _network(self) -> nn.Module:
        """Return what computes the logits: on the CPU in float32 the inference form of the model as it is now."""
        if self.dtype != torch.float32 or self.device.type != "cpu":
            return self.model
        if self._form is None or self._form.model is not self.model:
            self._form = InferenceForm(self.model, bfloat16=self._rounds_factors)
        return self._form.network()


def _checked(facts: list[float]) -> tuple[float, float] | None:
    """Return the reliability among the facts of an `Answer`, if any; raise ValueError if logits are not finite."""
    finite, *reliability = facts
    if not finite:
        raise ValueError(
            "the model's logits are not all finite; expected finite numbers: check the weights and the input"
        )
    return (reliability[0], reliability[1]) if reliability else None
