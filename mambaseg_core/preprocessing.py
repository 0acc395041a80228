"""From an image and its second input, events or a second image, to a model's inputs, and from its mask back.

A `Preprocessing` is part of every checkpoint: training, `Segmenter` and the ROS node read the same one.
The view is the (rectified) event camera's; crops and sizes of the presets are those of the released MambaSeg code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Matrix, resize_pixels
from mambaseg_core.events import Events, Window
from mambaseg_core.labels import DDD17_6, DSEC_11, IGNORE, LABEL_SETS, MFNET_9, LabelSet
from mambaseg_core.ops.area_resize import area_resize
from mambaseg_core.ops.voxel_grid import packed_events, voxel_grid, voxel_grid_resized
from mambaseg_core.pictures import in_rgb

Image = npt.NDArray[np.uint8]
Reading = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
"""A second image, thermal or depth, [H, W]; uint8 may be [H, W, 3], whose luma is used."""

SECOND_INPUTS: Final = ("events", "thermal", "depth")
"""Kinds of a second input."""

_SHAPES_DIFFER: Final = 0.02
_PAIRS: Final = ("view_size", "size", "second_range")


class PackedEvents(NamedTuple):
    """Events for a voxel grid on a device.

    Attributes:
        packed: int64 [M] of `ops.voxel_packed`.
        size: (height, width) of the grid before crop and resize, pixels.
    """

    packed: npt.NDArray[np.int64]
    size: tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How sensor data become a model's input.

    Attributes:
        view_size: (height, width) of the view for which `crop_bottom` is given, in pixels.
        crop_bottom: rows cut from the bottom of such a view (the car's own bonnet); scaled with other sizes.
        size: (height, width) of the model's input, in pixels.
        channels: channels of the model's image, 1 (grey) or 3 (RGB).
        bins: time bins T of the voxel grid.
        voxel_mode: "bilinear" (released code) or "binned" (paper).
        window: which events belong to an image.
        labels: name of the label set.
        second: kind of the second input: "events", or "thermal" or "depth" for a second image. That is registered to
            the image and repeated to `bins` channels.
        second_range: values of the second image that become 0 and 1, in its own unit (depth: mm). A pixel without a
            value (a depth of 0) is 0.
    """

    view_size: tuple[int, int]
    crop_bottom: int
    size: tuple[int, int]
    channels: int
    bins: int
    voxel_mode: str
    window: Window
    labels: str
    second: str = "events"
    second_range: tuple[float, float] = (0.0, 255.0)

    @property
    def label_set(self) -> LabelSet:
        """Names and colours of the classes."""
        return LABEL_SETS[self.labels]

    def kept_rows(self, height: int) -> int:
        """Return the rows of a view of `height` rows that the model sees.

        Raises:
            ValueError: there are none.
        """
        rows = height - round(self.crop_bottom * height / self.view_size[0])
        if rows < 1:
            raise ValueError(
                f"the crop of {self.crop_bottom} of {self.view_size[0]} rows leaves none of a view's {height}, "
                "expected some; lower data.crop_bottom, or give larger pictures"
            )
        return rows

    def unseen_rows(self, height: int | None) -> str:
        """Return which rows the model does not see, in words; empty if it sees all.

        Args:
            height: rows of the view; None: not known.
        """
        if self.crop_bottom == 0:
            return ""
        if height is None:
            return f"lowest {self.crop_bottom / self.view_size[0]:.1%} of the view"
        return f"lowest {height - self.kept_rows(height)} of {height} rows of the view"

    def voxel_input(
        self,
        events: Events,
        edges_ns: npt.NDArray[np.int64] | None,
        calibration: Calibration | None,
        grid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the model's voxel grid from raw events.

        Args:
            events: of the image's window; may be empty.
            edges_ns: the window's edges on the raw events (`Window.edges_ns`); None: made from `events`.
            calibration: where image and events have different views (DSEC); None where both are registered.
            grid: memory for the voxel grid, as `out` of `voxel_tensor`.

        Returns:
            float32 [T, h, w], on the CPU.
        """
        return self.voxel_tensor(*self._in_view(events, edges_ns, calibration), grid)

    def packed_events(
        self, events: Events, edges_ns: npt.NDArray[np.int64] | None, calibration: Calibration | None
    ) -> PackedEvents:
        """Return raw events, packed for a voxel grid on a device; arguments as of `voxel_input`."""
        events, edges_ns = self._in_view(events, edges_ns, calibration)
        packed = packed_events(events, bins=self.bins, mode=self.voxel_mode, edges_ns=edges_ns)
        return PackedEvents(packed, (events.height, events.width))

    def _in_view(
        self, events: Events, edges_ns: npt.NDArray[np.int64] | None, calibration: Calibration | None
    ) -> tuple[Events, npt.NDArray[np.int64] | None]:
        """Rectify events where there is a calibration; edges that are not given are those of the raw events."""
        if edges_ns is None and self.voxel_mode == "bilinear" and len(events):
            edges_ns = events.t_ns[[0, -1]]
        return (events if calibration is None else calibration.rectify(events)), edges_ns

    def second_input(
        self,
        second: Events | Reading,
        edges_ns: npt.NDArray[np.int64] | None,
        calibration: Calibration | None,
        grid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the model's second input, from events or a second image.

        Args:
            second: events as in `voxel_input`, or an image as in `second_tensor`, in the image's view.
            edges_ns: as in `voxel_input`.
            calibration: as in `voxel_input`.
            grid: as in `voxel_input`.

        Raises:
            ValueError: it is not what the model takes.
        """
        self.check_kind(second)
        if isinstance(second, Events):
            return self.voxel_input(second, edges_ns, calibration, grid)
        return self.second_tensor(second)

    def check_kind(self, second: Events | Reading) -> None:
        """Refuse a second input of another kind than the model takes, with ValueError."""
        if isinstance(second, Events) != (self.second == "events"):
            got = "events" if isinstance(second, Events) else f"an image {list(second.shape)}"
            raise ValueError(f"the second input is {got}; this model expects {self.second}: choose another model")

    def second_tensor(self, image: Reading) -> torch.Tensor:
        """Crop, scale and resize a second image, which has the image's view.

        Args:
            image: [H, W], any resolution; uint8 may be [H, W, 3], whose luma is used.

        Returns:
            float32 [T, h, w] in 0..1: one channel, `bins` times.
        """
        return torch.from_numpy(self.second_plane(image)).repeat(self.bins, 1, 1)

    def second_plane(self, image: Reading) -> npt.NDArray[np.float32]:
        """Return the one channel of `second_tensor`, float32 [h, w]."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
        low, high = self.second_range
        kept = np.asarray(grey, np.float32)[: self.kept_rows(grey.shape[0])]
        scaled = np.clip((np.where(np.isfinite(kept), kept, low) - low) / (high - low), 0, 1).astype(np.float32)
        low, high = scaled.min(), scaled.max()
        if low == high:  # nothing is seen, and stays so: OpenCV's mean of floats differs in the last bit
            return np.full(self.size, low, np.float32)
        resized: npt.NDArray[np.float32] = self._resized(scaled)
        return resized

    def image_tensor(self, image: Image) -> torch.Tensor:
        """Crop, resize and scale an image of the view.

        Args:
            image: uint8 [H, W] grey or [H, W, 3] RGB, any resolution.

        Returns:
            float32 [C, h, w] in 0..1, with `channels` and `size`.
        """
        return self.unit_tensor(self.image_pixels(image))

    def unit_tensor(self, pixels: Image) -> torch.Tensor:
        """Return the pixels of `image_pixels` as float32 [C, h, w] in 0..1."""
        scaled = np.empty(
            pixels.shape, np.float32
        )  # in torch three parallel loops, which wait 8 ms each for a busy core
        np.divide(pixels, np.float32(255.0), out=scaled, dtype=np.float32)
        return torch.from_numpy(scaled[None] if scaled.ndim == 2 else scaled.transpose(2, 0, 1))

    def image_pixels(self, image: Image) -> Image:
        """Crop and resize an image of the view as `image_tensor`, which then scales it.

        Returns:
            uint8 [h, w, C], or [h, w] for a model of grey images.
        """
        fewest = 1 if image.ndim == 2 else self.channels  # grey is resized as one channel
        resized = self._resized(_with_channels(image, fewest)[: self.kept_rows(image.shape[0])])
        return _with_channels(resized, self.channels)

    def _resized(self, picture: Any) -> Any:
        """Resize [H, W] or [H, W, 3] to `size`: area mean where it shrinks, else linear."""
        if picture.shape[:2] == self.size:
            return picture
        shrinks = picture.shape[0] >= self.size[0] and picture.shape[1] >= self.size[1]
        return cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def voxel_tensor(
        self, events: Events, edges_ns: npt.NDArray[np.int64] | None, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the voxel grid of a window's events, cropped and resized.

        Args:
            events: the events in the model's view (rectified where there is a calibration).
            edges_ns: the window's edges on the raw events (`Window.edges_ns`), nanoseconds.
            out: memory for the grid before crop and resize, as of `voxel_grid`; what is returned may be a part of it.
                Not needed, and not used, for a smaller grid on the CPU.

        Returns:
            float32 [T, h, w] with `bins` and `size`; equal to the data set's grid where no resizing is needed.
        """
        view = self.kept_rows(events.height), events.width
        shrinks = view != self.size and view[0] >= self.size[0] and view[1] >= self.size[1]
        if shrinks and (out is None or out.device.type == "cpu"):
            return voxel_grid_resized(events, self.bins, self.voxel_mode, edges_ns, rows=view[0], size=self.size)
        return self.resized_grid(voxel_grid(events, bins=self.bins, mode=self.voxel_mode, edges_ns=edges_ns, out=out))

    def resized_grid(self, grid: torch.Tensor) -> torch.Tensor:
        """Crop and resize a voxel grid [T, H, W] of the view to [T, h, w], on its device; may return a part of it."""
        kept = grid[:, : self.kept_rows(grid.shape[1])]
        height, width = kept.shape[1:]
        if (height, width) == self.size:
            return kept
        if height >= self.size[0] and width >= self.size[1]:
            return area_resize(kept, self.size)
        return F.interpolate(kept[None], self.size, mode="bilinear", align_corners=False)[0]

    def label_tensor(self, ids: Image, view_height: int) -> torch.Tensor:
        """Return class ids of a label image at the model's size: nearest, like masks.

        Args:
            ids: uint8 [H, W], the view's rows from the top; published labels end where the view is cropped.
            view_height: rows of the whole view; rows without labels become 255 where the model sees them.

        Returns:
            int64 [h, w] with `size`; 255 = ignore.
        """
        rows = self.kept_rows(view_height)
        if ids.shape[0] < rows:
            missing = np.full((rows - ids.shape[0], ids.shape[1]), IGNORE, np.uint8)
            ids = np.concatenate([ids, missing])
        ids = ids[:rows]
        if ids.shape != self.size:
            ids = cv2.resize(ids, self.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)  # type: ignore[assignment]
        return torch.from_numpy(ids.astype(np.int64))

    def mask_in_view(self, ids: Image, view_size: tuple[int, int]) -> Image:
        """Put a mask [h, w] of the model back into a view of `view_size`: nearest, 255 where it was cropped."""
        rows = self.kept_rows(view_size[0])
        view = np.empty(view_size, np.uint8)
        cv2.resize(ids, (view_size[1], rows), dst=view[:rows], interpolation=cv2.INTER_NEAREST_EXACT)
        view[rows:] = IGNORE
        return view

    def view_to_mask(self, view_size: tuple[int, int]) -> Matrix:
        """Return the map from pixels of a view to pixels of the model's mask, float64 [3, 3]."""
        return resize_pixels((self.kept_rows(view_size[0]), view_size[1]), self.size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint's header."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Make a `Preprocessing` from what `to_dict` returned."""
        pairs: dict[str, Any] = {name: tuple(values[name]) for name in _PAIRS if name in values}
        return cls(**{**values, **pairs, "window": Window(**values["window"])})


def check_registered(image_size: tuple[int, ...], second_size: tuple[int, ...]) -> None:
    """Refuse two views that cannot be one: without a calibration, they have one shape, whatever their resolutions.

    Args:
        image_size: (height, width) of the image.
        second_size: (height, width) of the event sensor or of the second image.

    Raises:
        ValueError: their ratios of height to width differ by more than 2 %.
    """
    ratio = image_size[0] * second_size[1] / (image_size[1] * second_size[0])
    if abs(ratio - 1) > _SHAPES_DIFFER:
        image, second = (f"{width}x{height}" for height, width in (image_size, second_size))
        raise ValueError(
            f"the image is {image} and the second input {second}, which cannot be one view, expected one shape where "
            "there is no calibration; give the calibration of the two cameras, or register their views"
        )


def _with_channels(image: Image, channels: int) -> Image:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(
            f"image is {image.dtype} {list(image.shape)}; expected uint8 [H, W] (grey) or [H, W, 3] (RGB): convert it"
        )
    if channels == 1 and image.ndim == 3:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
    if channels == 3 and image.ndim == 2:
        return in_rgb(image)
    return image


def picture_preprocessing(
    size: tuple[int, int], *, channels: int = 3, second: str = "thermal", repeat: int = 3, labels: str = MFNET_9.name,
    second_range: tuple[float, float] = (0.0, 255.0),
) -> Preprocessing:  # fmt: skip
    """Return the preprocessing of a model whose second input is a second image, `repeat` times; no crop."""
    return Preprocessing(
        view_size=size, crop_bottom=0, size=size, channels=channels, bins=repeat, voxel_mode="bilinear",
        window=Window(duration_ns=50_000_000), labels=labels, second=second, second_range=second_range,
    )  # fmt: skip


DDD17: Final = Preprocessing(
    view_size=(260, 346), crop_bottom=60, size=(200, 346), channels=1, bins=10, voxel_mode="bilinear",
    window=Window(duration_ns=50_000_000), labels=DDD17_6.name,
)  # fmt: skip
DSEC: Final = Preprocessing(
    view_size=(480, 640), crop_bottom=40, size=(440, 640), channels=3, bins=10, voxel_mode="bilinear",
    window=Window(count=100_000, max_age_ns=1_000_000_000), labels=DSEC_11.name,
)  # fmt: skip
RGB_THERMAL: Final = picture_preprocessing((480, 640))
