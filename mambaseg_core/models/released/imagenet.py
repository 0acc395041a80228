"""Encoders that start from VMamba's ImageNet classifiers.

Source: checkpoints of MzeroMiko/VMamba: `vssm1_tiny_0230s_ckpt_epoch_264.pth` for MambaSeg's encoders; for Sigma's
those of the first version, `vssmtiny_dp01_ckpt_epoch_292.pth`, `vssmsmall_dp03_ckpt_epoch_238.pth` and
`vssmbase_dp06_ckpt_epoch_241.pth`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from torch import Tensor, nn

from mambaseg_core.models.mambaseg.encoder import VMambaEncoder
from mambaseg_core.models.released.load import check_names, check_numbers, fit, released_name, shapes
from mambaseg_core.models.released.names import MAMBASEG, VMAMBA_FIRST, Rules
from mambaseg_core.models.released.unwrap import tensors_of
from mambaseg_core.models.rgbx.encoder import SiameseEncoder

Encoder: TypeAlias = VMambaEncoder | SiameseEncoder

_CLASSIFIER: Final = ("classifier.", "norm.", "head.")


@dataclass(frozen=True)
class _Layout:
    """Names of one kind of encoder in a classifier.

    Attributes:
        theirs: Prefix of the encoder in the authors' network; a classifier's names lack it.
        ours: Prefix of the encoder in our network.
        rules: Rules from the authors' names to ours.
        first: Our name of the first convolution.
        checkpoints: The classifiers that fit, for errors.
    """

    theirs: str
    ours: str
    rules: Rules
    first: str
    checkpoints: str

    def name(self, key: str) -> str:
        """Return our name, inside an encoder, of a tensor that the classifier calls `key`."""
        return released_name(self.theirs + key, self.rules).removeprefix(self.ours)


_MAMBASEG: Final = _Layout("encoder_img.", "image_encoder.", MAMBASEG, "stem.conv1", "VMamba-T (s1l8)")
_SIGMA: Final = _Layout("backbone.vssm.", "encoder.", VMAMBA_FIRST, "patch", "VMamba of the first version (vssm)")


def load_vmamba_imagenet(
    model: nn.Module, state_dict: Mapping[str, Any], *, warn: Callable[[str], Any] = warnings.warn
) -> dict[str, tuple[str, ...]]:
    """Start every encoder in `model` from a VMamba ImageNet classifier, in place.

    A classifier has no output norms for the fusion: these keep their values. So does the first convolution of an
    encoder whose number of input channels differs from the checkpoint's (3).

    Args:
        model: An encoder, or a network with encoders.
        state_dict: The checkpoint's state dict, or a dict that holds it, as of `load_released_state_dict`; classifier
            layers are ignored.
        warn: As of `load_released_state_dict`.

    Returns:
        Names of the tensors that kept their values, by the encoder's name in `model` ("" if `model` is one).

    Raises:
        ValueError: `model` has no encoder, or the checkpoint does not fit; nothing has been loaded then.
    """
    encoders = {name: part for name, part in model.named_modules() if isinstance(part, (VMambaEncoder, SiameseEncoder))}
    if not encoders:
        raise ValueError(
            f"{type(model).__name__} has no encoder of VMamba, expected one or more; pass an encoder or a network"
        )
    tensors = {key: x for key, x in tensors_of(state_dict, warn).items() if not key.startswith(_CLASSIFIER)}
    plans = {name: _plan(encoder, tensors) for name, encoder in encoders.items()}
    for name, encoder in encoders.items():
        encoder.load_state_dict(plans[name], strict=False)
    return {
        name: tuple(key for key in encoder.state_dict() if key not in plans[name]) for name, encoder in encoders.items()
    }


def _plan(encoder: Encoder, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a classifier's tensors for `encoder`, by our names; raise ValueError if the two do not fit."""
    layout = _SIGMA if isinstance(encoder, SiameseEncoder) else _MAMBASEG
    given = {layout.name(key): value for key, value in tensors.items()}
    own = encoder.state_dict()
    may_stay = {key for key in own if ".out_norm." in key}
    check_names(own.keys() - may_stay - given.keys(), given.keys() - own.keys(), f"this encoder, {layout.checkpoints}")
    fitted = {key: fit(given[key], own[key]) for key in own if key in given}
    first = f"{layout.first}.weight"
    if fitted[first].shape[1:2] != own[first].shape[1:2]:
        del fitted[first], fitted[f"{layout.first}.bias"]
    wrong = [key for key in fitted if fitted[key].shape != own[key].shape]
    if wrong:
        raise ValueError(f"{shapes(wrong, fitted, own)}; load a checkpoint of {layout.checkpoints}")
    check_numbers(fitted, own)
    return fitted
