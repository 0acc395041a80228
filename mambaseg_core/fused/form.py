"""The pass: from a finished network in eval mode to its inference form, which follows the network's changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from mambaseg_core.fused import encoder, fusion, heads, networks, released_fusion, reliability, rgbx
from mambaseg_core.fused.layers import Convert, FusedNorm, UnfitError, is_untouched, rebuilt
from mambaseg_core.fused.packed import PackedWeights
from mambaseg_core.models.layers import Mlp
from mambaseg_core.models.mambaseg.encoder import SS2D, Downsample, Stage, Stem, VMambaEncoder, VSSBlock
from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.paper_fusion import JointCSIM, SharedCTIM
from mambaseg_core.models.mambaseg.released_fusion import CSIM, CTIM, DDIM, Stream
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.mambaseg.sum_head import SumHead
from mambaseg_core.models.reliability import Reliability
from mambaseg_core.models.rgbx.channel_aware_decoder import (
    ChannelAwareBlock,
    ChannelAwareDecoder,
    Expand,
    Halve,
    Level,
)
from mambaseg_core.models.rgbx.encoder import GatedBlock, GatedSS2D, GatedStage, PatchMerging, SiameseEncoder
from mambaseg_core.models.rgbx.rsgmamba import LocalCrossGate, ReliableFusion, RSGMamba, SelfGatedBlock
from mambaseg_core.models.rgbx.sigma import Sigma, SigmaFusion
from mambaseg_core.module_parts import ModuleParts
from mambaseg_core.ops import selection

FORMS: Final[dict[type[nn.Module], Callable[[PackedWeights, nn.Module], nn.Module]]] = {
    nn.LayerNorm: lambda _, norm: FusedNorm(norm),
    Mlp: encoder.FusedMlp,
    SS2D: encoder.FusedSS2D,
    VSSBlock: encoder.FusedVSSBlock,
    Stem: encoder.FusedStem,
    Downsample: encoder.FusedDownsample,
    JointCSIM: fusion.FusedJointCSIM,
    SharedCTIM: fusion.FusedSharedCTIM,
    CTIM: released_fusion.FusedCTIM,
    CSIM: released_fusion.FusedCSIM,
    SumHead: heads.FusedSumHead,
    SegFormerHead: heads.FusedSegFormerHead,
    Reliability: reliability.FusedReliability,
    GatedSS2D: rgbx.FusedGatedSS2D,
    GatedBlock: rgbx.FusedGatedBlock,
    PatchMerging: rgbx.FusedPatchMerging,
    ChannelAwareBlock: rgbx.FusedChannelAwareBlock,
    Halve: rgbx.FusedHalve,
    Expand: rgbx.FusedExpand,
    SelfGatedBlock: rgbx.FusedSelfGatedBlock,
    LocalCrossGate: rgbx.FusedLocalCrossGate,
}
"""The fused form of each module that has one, made of the place of packed weights and the plain module."""

CONTAINERS: Final = frozenset({
    nn.Sequential, nn.ModuleList, MambaSeg, VMambaEncoder, Stage, VSSBlock, DDIM, Stream, Sigma, RSGMamba,
    SiameseEncoder, GatedStage, GatedBlock, ChannelAwareBlock, ChannelAwareDecoder, Level, SigmaFusion, ReliableFusion,
})  # fmt: skip
"""Modules that may be kept with other submodules, since they only call them."""

COMPOSED: Final[dict[type[nn.Module], Callable[[PackedWeights, nn.Module, Convert], nn.Module]]] = {
    MambaSeg: networks.fused_mambaseg,
    Sigma: networks.fused_sigma,
    RSGMamba: networks.fused_rsgmamba,
    DDIM: fusion.fused_ddim,
    ChannelAwareDecoder: rgbx.fused_decoder,
}
"""The same of modules that call submodules of any kind, which `Convert` brings into their inference form."""


def _is_known(model: nn.Module) -> bool:
    return type(model) in CONTAINERS or type(model) in FORMS


def has_form(model: nn.Module) -> bool:
    """Return True if the network is one of ours in float32, and scans on the CPU run on the compiled back end."""
    if not _is_known(model):
        return False
    return selection.choose("cpu", None) == "cpu" and all(x.dtype == torch.float32 for x in model.parameters())


class InferenceForm:
    """A network as it is called for inference on the CPU in float32, with fused operators where it is ours.

    The given network is not changed, and may change: `network` follows new values of its weights, and is built anew
    after any other change. A module of another class than those of `models`, with hooks, in training mode, or with
    weights of another dtype stays in it as it is.

    Args:
        model: The plain network. Packed weights are kept beside its own.
        bfloat16: Whether products round both factors to bfloat16, as `ops.fused_dense` does. Features, sums, scans,
            norms and fusion stay float32, as do modules that are left as they are, and the product that makes the
            logits: rounding it would add half to their error (`mambaseg_nano`).
    """

    def __init__(self, model: nn.Module, *, bfloat16: bool = False) -> None:
        self.model, self.bfloat16 = model, bfloat16
        self._lock = threading.Lock()
        self._built: _Built | None = None

    def network(self) -> nn.Module:
        """Return the inference form of the network as it is now.

        That is the plain network where nothing can be fused, where scans do not run on the compiled back end, and under
        autocast, which the fused operators do not know.
        """
        if not _is_known(self.model):
            return self.model
        if selection.choose("cpu", None) != "cpu" or torch.is_autocast_enabled("cpu"):
            return self.model
        built = self._built
        if built is None or not built.is_current():
            with self._lock:  # several cameras share one form
                if self._built is built:
                    self._built = _Built(self.model, bfloat16=self.bfloat16)
                built = self._built
        assert built is not None
        return built.network


class _Built:
    """The inference form of a network that has not changed since."""

    def __init__(self, model: nn.Module, *, bfloat16: bool) -> None:
        self._parts = ModuleParts(model)
        self._weights = PackedWeights(bfloat16=bfloat16)
        self._done: dict[int, nn.Module] = {}
        self.network = self._convert(model)
        self._weights.watch()

    def is_current(self) -> bool:
        """Return True if nothing has changed but values of weights, which then are packed again."""
        return self._parts.unchanged() and self._weights.refresh()

    def _convert(self, module: nn.Module) -> nn.Module:
        """Return the inference form of a module, or the module itself; the same for one that occurs twice."""
        if id(module) not in self._done:
            self._done[id(module)] = self._form_of(module) if is_untouched(module) else module
        return self._done[id(module)]

    def _form_of(self, module: nn.Module) -> nn.Module:
        kind, count, done = type(module), self._weights.count(), dict(self._done)
        try:
            if kind in COMPOSED:
                return COMPOSED[kind](self._weights, module, self._convert)
            if kind in FORMS:
                return FORMS[kind](self._weights, module)
        except UnfitError:
            self._weights.drop_from(count)
            self._done = done
        return rebuilt(module, kind, self._convert) if kind in CONTAINERS else module
