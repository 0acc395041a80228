"""The parts of a sample in the event camera's view, and a folder that keeps them between epochs.

Most of a sample's time goes into decoding the image, its warp, and reading and rectifying the events. None of that
depends on crop, size or augmentation, so a `ViewCache` does it once. It returns the same bits as it stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mambaseg_core.events import Events
from mambaseg_core.files import write_bytes
from mambaseg_core.pictures import Picture
from mambaseg_core.preprocessing import Preprocessing


@dataclass(frozen=True)
class View:
    """An image with its window of events and its label, before crop and resize.

    Attributes:
        image: uint8 [H, W] or RGB [H, W, 3], warped into the event view if the cameras differ.
        events: events of the window, rectified if there is a calibration.
        edges_ns: bin edges of the window on the raw events, nanoseconds.
        label: uint8 [h, W] class ids; published labels end where the view is cropped.
    """

    image: Picture
    events: Events
    edges_ns: npt.NDArray[np.int64]
    label: Picture


class ViewCache:
    """A folder of views for one kind of window.

    A view is made again if its image's time or path, or the window, has changed. A change of the files themselves is
    not noticed: remove the folder then.

    Args:
        folder: created if missing; about 2 MB per sample of DSEC.
        preprocessing: the model's; its window, bins and mode count, crop and size do not.
    """

    def __init__(self, folder: str | Path, preprocessing: Preprocessing) -> None:
        self._folder = Path(folder)
        self._window = f"{preprocessing.window} {preprocessing.bins} {preprocessing.voxel_mode}"

    def get(self, name: str, make: Callable[[], View]) -> View:
        """Return the view of a name (an image's path and time); call `make` if the folder does not have it."""
        path = self._folder / f"{_digest(f'{name} {self._window}')}.safetensors"
        try:
            return _from_bytes(path.read_bytes())
        except (FileNotFoundError, SafetensorError, KeyError, ValueError):  # missing, or cut off by a crash
            view = make()
            self._folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, _to_bytes(view))
            return view


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _to_bytes(view: View) -> bytes:
    events = view.events
    arrays = {"image": view.image, "label": view.label, "edges_ns": view.edges_ns}
    columns = {"x": events.x, "y": events.y, "t_ns": events.t_ns, "p": events.p}
    size = np.array([events.height, events.width], np.int64)
    return save({name: np.ascontiguousarray(array) for name, array in {**arrays, **columns, "size": size}.items()})


def _from_bytes(data: bytes) -> View:
    a = load(data)
    height, width = a["size"].tolist()
    events = Events(a["x"], a["y"], a["t_ns"], a["p"], height, width)
    return View(a["image"], events, a["edges_ns"], a["label"])
