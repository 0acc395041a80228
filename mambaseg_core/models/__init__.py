"""Networks by name, and loading of released checkpoints into them."""

from __future__ import annotations

from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.presets import Network, list_models
from mambaseg_core.models.released.imagenet import load_vmamba_imagenet
from mambaseg_core.models.released.load import load_released_state_dict
from mambaseg_core.models.rgbx.rsgmamba import RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma

__all__ = [
    "MambaSeg",
    "Network",
    "RSGMamba",
    "Sigma",
    "list_models",
    "load_released_state_dict",
    "load_vmamba_imagenet",
]
