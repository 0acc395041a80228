"""mambaseg_core: models, kernels and event processing for image-event semantic segmentation."""

from __future__ import annotations

from mambaseg_core import ops
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.checkpoint import create_model
from mambaseg_core.events import Decoder, EventBuffer, Events, Window, decode
from mambaseg_core.inference import Mask, Segmenter
from mambaseg_core.models import list_models, load_released_state_dict, load_vmamba_imagenet
from mambaseg_core.ops.voxel_grid import voxel_grid
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.profile import profile_model

__all__ = [
    "Calibration",
    "Decoder",
    "EventBuffer",
    "Events",
    "Mask",
    "Preprocessing",
    "Segmenter",
    "Window",
    "create_model",
    "decode",
    "list_models",
    "load_released_state_dict",
    "load_vmamba_imagenet",
    "ops",
    "profile_model",
    "voxel_grid",
]
