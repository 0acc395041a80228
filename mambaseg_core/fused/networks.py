"""Inference forms of whole networks: what stands between their modules, and the logits before the last resize."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor, nn

from mambaseg_core.fused.layers import Convert, FusedSum, expect, rebuilt
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.inputs import complete
from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.reliability import average
from mambaseg_core.models.rgbx.rsgmamba import RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma

Coarse: TypeAlias = tuple[Tensor, tuple[Tensor, ...]]
"""The head's logits [B, h, w, K], and the two maps [B, H, W] of `reliability`, if the network has it."""


class FusedMambaSeg(MambaSeg):
    """MambaSeg without concatenations between its stages."""

    def coarse(self, image: Tensor | None, second: Tensor | None) -> Coarse:
        """Return the logits before their resize and the maps of `reliability`; arguments as for `forward`."""
        image, second = complete(self, image, second)
        features, weights = self._fuse(image, second)
        return self.head(features), average(weights, (image.shape[2], image.shape[3])) if weights else ()

    def _mix(self, mix: nn.Module, image: Tensor, second: Tensor) -> Tensor:
        mixed: Tensor = mix(image, second)
        return mixed


class FusedSigma(Sigma):
    """Sigma, which also returns its logits before their resize."""

    def coarse(self, image: Tensor | None, second: Tensor | None) -> Coarse:
        """Return the logits before their resize; arguments as for `forward`."""
        image, second = complete(self, image, second, least=4)
        return self.head(self._fuse(image, second)), ()


class FusedRSGMamba(RSGMamba):
    """RSGMamba, which also returns its logits before their resize."""

    def coarse(self, image: Tensor | None, second: Tensor | None) -> Coarse:
        """Return the logits before their resize and the maps of `reliability`; arguments as for `forward`."""
        image, second = complete(self, image, second, least=4)
        pairs, weights = self._weigh(image, second)
        return self.head(self._fuse_weighed(pairs, weights)), average(weights, (image.shape[2], image.shape[3]))


FusedNetwork = (FusedMambaSeg, FusedSigma, FusedRSGMamba)


def fused_mambaseg(weights: PackedWeights, model: nn.Module, convert: Convert) -> FusedMambaSeg:
    """Return the inference form of a MambaSeg."""
    made = rebuilt(expect(model, MambaSeg), FusedMambaSeg, convert)
    made.mixes = nn.ModuleList(FusedSum(weights, mix, 2) for mix in expect(made.mixes, nn.ModuleList))
    return made


def fused_sigma(_weights: PackedWeights, model: nn.Module, convert: Convert) -> FusedSigma:
    """Return the inference form of a Sigma."""
    return rebuilt(expect(model, Sigma), FusedSigma, convert)


def fused_rsgmamba(_weights: PackedWeights, model: nn.Module, convert: Convert) -> FusedRSGMamba:
    """Return the inference form of an RSGMamba."""
    return rebuilt(expect(model, RSGMamba), FusedRSGMamba, convert)
