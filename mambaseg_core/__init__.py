"""mambaseg_core: models, kernels and event processing for image-event semantic segmentation.

The names below are public; docs/python.md lists them. Data sets and readers of recordings are imported when they are
first asked for, so that a robot does not load them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mambaseg_core import ops
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.checkpoint import create_model, load_checkpoint, save_checkpoint, shipped_weights
from mambaseg_core.events import Decoder, EventBuffer, EventClock, Events, Window, decode
from mambaseg_core.inference import Mask, Segmenter
from mambaseg_core.models import list_models, load_released_state_dict, load_vmamba_imagenet
from mambaseg_core.ops.voxel_grid import voxel_grid
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.profile import profile_model

if TYPE_CHECKING:
    from mambaseg_core.data import Batch, Ddd17Dataset, DsecDataset, RgbxDataset, Sample, collate
    from mambaseg_core.recordings import EventReader, open_events

_LATER: Final = {
    "Batch": "mambaseg_core.data",
    "Ddd17Dataset": "mambaseg_core.data",
    "DsecDataset": "mambaseg_core.data",
    "EventReader": "mambaseg_core.recordings",
    "RgbxDataset": "mambaseg_core.data",
    "Sample": "mambaseg_core.data",
    "collate": "mambaseg_core.data",
    "open_events": "mambaseg_core.recordings",
}

__all__ = [
    "Batch",
    "Calibration",
    "Ddd17Dataset",
    "Decoder",
    "DsecDataset",
    "EventBuffer",
    "EventClock",
    "EventReader",
    "Events",
    "Mask",
    "Preprocessing",
    "RgbxDataset",
    "Sample",
    "Segmenter",
    "Window",
    "collate",
    "create_model",
    "decode",
    "list_models",
    "load_checkpoint",
    "load_released_state_dict",
    "load_vmamba_imagenet",
    "open_events",
    "ops",
    "profile_model",
    "save_checkpoint",
    "shipped_weights",
    "voxel_grid",
]


def __getattr__(name: str) -> Any:
    """Import a public name whose module is not loaded yet."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """Return all public names, those that are not loaded yet included."""
    return sorted({*globals(), *__all__})
