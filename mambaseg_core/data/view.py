"""The parts of a sample in the event camera's view, and a folder that keeps them between epochs.

Most of a sample's time goes into decoding the image, its warp, and reading and rectifying the events. None of that
depends on crop, size or augmentation, so a `ViewCache` does it once. It returns the same bits as it stored. Images are
kept apart from labels and their events, as an image serves several labels (`data.image_age`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mambaseg_core.events import Events
from mambaseg_core.files import write_bytes
from mambaseg_core.pictures import Picture
from mambaseg_core.preprocessing import Preprocessing

Arrays = dict[str, npt.NDArray[Any]]
Part = TypeVar("Part")


@dataclass(frozen=True)
class LabelledWindow:
    """A label and the window of events that ends at its time, before crop and resize.

    Attributes:
        events: events of the window, rectified if there is a calibration.
        edges_ns: bin edges of the window on the raw events, nanoseconds.
        label: uint8 [h, W] class ids; published labels end where the view is cropped.
    """

    events: Events
    edges_ns: npt.NDArray[np.int64]
    label: Picture


class ViewCache:
    """A folder of images and of labeled windows of one kind, both in the event view.

    A part is made again if its path or time, the calibration or the window has changed. A change of the files
    themselves is not noticed: remove the folder then.

    Args:
        folder: created if missing; about 2 MB per sample of DSEC.
        preprocessing: the model's; its window, bins and mode count, crop and size do not.
    """

    def __init__(self, folder: str | Path, preprocessing: Preprocessing) -> None:
        self._folder = Path(folder)
        self._window = f"{preprocessing.window} {preprocessing.bins} {preprocessing.voxel_mode}"

    def image(self, name: str, make: Callable[[], Picture]) -> Picture:
        """Return the image of a name (its path, time and calibration); call `make` if the folder does not have it.

        It is uint8 [H, W] or RGB [H, W, 3].
        """
        return self._get(f"image {name}", make, lambda image: {"image": image}, lambda arrays: arrays["image"])

    def window(self, name: str, make: Callable[[], LabelledWindow]) -> LabelledWindow:
        """Return the window of a name (its label's path, time and calibration), as `image` does."""
        return self._get(f"window {name} {self._window}", make, _to_arrays, _from_arrays)

    def _get(
        self, name: str, make: Callable[[], Part], store: Callable[[Part], Arrays], restore: Callable[[Arrays], Part]
    ) -> Part:
        path = self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.safetensors"
        try:
            return restore(load(path.read_bytes()))
        except (FileNotFoundError, SafetensorError, KeyError, ValueError):  # missing, or cut off by a crash
            part = make()
            self._folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, save({key: np.ascontiguousarray(array) for key, array in store(part).items()}))
            return part


def _to_arrays(window: LabelledWindow) -> Arrays:
    events = window.events
    columns: Arrays = {"x": events.x, "y": events.y, "t_ns": events.t_ns, "p": events.p}
    size = np.array([events.height, events.width], np.int64)
    return {"label": window.label, "edges_ns": window.edges_ns, **columns, "size": size}


def _from_arrays(a: Arrays) -> LabelledWindow:
    height, width = a["size"].tolist()
    return LabelledWindow(Events(a["x"], a["y"], a["t_ns"], a["p"], height, width), a["edges_ns"], a["label"])
