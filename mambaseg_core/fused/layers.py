"""The parts of which fused modules consist: each is one call of a fused operator with the weights of plain layers.

Packed weights are buffers. Biases and norms stay the plain layer's own tensors, so that their values need no watch.
A part that a plain layer does not fit raises `UnfitError`; the module that holds the layer then stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _torch_module

from mambaseg_core import ops
from mambaseg_core.fused.packed import PackedWeights, as_it_is
from mambaseg_core.models.scans import DirectionalScan, rates
from mambaseg_core.ops.fused import NONE

Module = TypeVar("Module", bound=nn.Module)
Convert: TypeAlias = Callable[[nn.Module], nn.Module]
Norm: TypeAlias = tuple[nn.Parameter | None, nn.Parameter | None, float]
"""Weight, bias and eps of a LayerNorm; without weights there is none."""


class UnfitError(Exception):
    """A module is not what a fused form was written for."""


def expect(module: nn.Module | None, kind: type[Module]) -> Module:
    """Return the module if it is exactly of that class and untouched; raise `UnfitError`."""
    if type(module) is not kind or not is_untouched(module):
        raise UnfitError
    return module


def is_untouched(module: nn.Module) -> bool:
    """Return True for a module in eval mode with its class's forward, no hooks, and weights of float32 on the CPU."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    every = _torch_module._global_forward_hooks or _torch_module._global_forward_pre_hooks
    if module.training or hooks or every or "forward" in vars(module):
        return False
    own = (*module._parameters.values(), *module._buffers.values())
    return all(map(_is_plain, (tensor for tensor in own if tensor is not None and tensor.is_floating_point())))


def rebuilt(module: nn.Module, kind: type[Module], convert: Convert) -> Module:
    """Return a module with the attributes and tensors of another one, and its submodules converted."""
    made = kind.__new__(kind)
    parts = {name: None if part is None else convert(part) for name, part in module._modules.items()}
    vars(made).update(vars(module) | {"_modules": parts})
    return made


def _is_plain(tensor: Tensor) -> bool:
    usual = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    return usual and tensor.dtype is torch.float32 and tensor.device.type == "cpu"


def _hold(module: nn.Module, name: str, tensor: Tensor | None) -> None:
    """Give a tensor to a module: a plain layer's parameter as such, another one as a buffer that is not saved."""
    if tensor is None or isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor, persistent=False)


class FusedNorm(nn.Module):
    """LayerNorm over the channels, and an activation."""

    def __init__(self, norm: nn.Module, activation: int = NONE) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer_norm(norm)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        fused: Tensor = torch.ops.mambaseg.norm_activation(x, self.weight, self.bias, self.eps, self.activation)
        return fused


def layer_norm(norm: nn.Module | None) -> Norm:
    """Return weight, bias and eps of a LayerNorm over the last dimension; for None no weights."""
    if norm is None:
        return None, None, 0.0
    fitting = expect(norm, nn.LayerNorm)
    if len(fitting.normalized_shape) != 1 or fitting.weight is None or fitting.bias is None:
        raise UnfitError
    return fitting.weight, fitting.bias, fitting.eps


class FusedLinear(nn.Module):
    """activation(norm(x) W^T + bias) + residual.

    Args:
        packed: W [O, I], packed.
        bias: [O] or None.
        outputs: O.
        norm: The norm before the product.
        activation: The activation after it.
    """

    packed: Tensor

    def __init__(
        self,
        packed: Tensor,
        bias: Tensor | None,
        outputs: int,
        *,
        norm: Norm = (None, None, 0.0),
        activation: int = NONE,
    ) -> None:
        super().__init__()
        self.norm_weight, self.norm_bias, self.eps = norm
        self.outputs, self.activation = outputs, activation
        _hold(self, "packed", packed)
        _hold(self, "bias", bias)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map [..., I] and perhaps a residual [..., O] to [..., O]."""
        fused: Tensor = torch.ops.mambaseg.fused_linear(
            x,
            self.packed,
            self.bias,
            self.outputs,
            self.norm_weight,
            self.norm_bias,
            self.eps,
            self.activation,
            residual,
        )
        return fused


def linear(
    weights: PackedWeights,
    layer: nn.Module | None,
    *,
    norm: nn.Module | None = None,
    activation: int = NONE,
    exact: bool = False,
) -> FusedLinear:
    """Return a linear layer with the norm before it and the activation after it; `exact`: in float32 in any case."""
    fitting = expect(layer, nn.Linear)
    packed = weights.add_linear(as_it_is, fitting.weight, exact=exact)
    return FusedLinear(packed, fitting.bias, fitting.out_features, norm=layer_norm(norm), activation=activation)


def rows(
    weights: PackedWeights,
    layer: nn.Module,
    part: int,
    parts: int,
    *,
    norm: nn.Module | None = None,
    activation: int = NONE,
) -> FusedLinear:
    """Return one of equal parts of a linear layer's outputs, without a bias."""
    fitting = expect(layer, nn.Linear)
    if fitting._parameters["bias"] is not None:
        raise UnfitError
    packed = weights.add_linear(lambda weight: weight.chunk(parts)[part], fitting.weight)
    return FusedLinear(packed, None, fitting.out_features // parts, norm=layer_norm(norm), activation=activation)


class FusedSum(nn.Module):
    """A linear layer over several inputs side by side, which are never concatenated: the sum of a product of each."""

    def __init__(self, weights: PackedWeights, layer: nn.Module, parts: int) -> None:
        super().__init__()
        fitting = expect(layer, nn.Linear)

        def columns(part: int) -> Callable[[Tensor], Tensor]:
            return lambda weight: weight.chunk(parts, dim=1)[part].contiguous()

        self.products = nn.ModuleList(
            FusedLinear(
                weights.add_linear(columns(part), fitting.weight),
                None if part else fitting.bias,
                fitting.out_features,
            )
            for part in range(parts)
        )

    def forward(self, *inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map inputs [..., I] and perhaps a residual [..., O] to [..., O]."""
        for product, x in zip(self.products, inputs, strict=True):
            residual = product(x, residual)
        return cast(Tensor, residual)


class FusedConv3x3(nn.Module):
    """A 3x3 convolution of padding 1, a norm over its outputs, and an activation."""

    packed: Tensor

    def __init__(
        self,
        weights: PackedWeights,
        conv: nn.Module,
        *,
        norm: nn.Module | None = None,
        activation: int = NONE,
    ) -> None:
        super().__init__()
        fitting = convolution(conv, groups=1)
        if fitting.stride not in ((1, 1), (2, 2)):
            raise UnfitError
        self.stride, self.outputs, self.activation = fitting.stride[0], fitting.out_channels, activation
        self.norm_weight, self.norm_bias, self.eps = layer_norm(norm)
        _hold(self, "packed", weights.add_conv3x3(fitting.weight))
        _hold(self, "bias", fitting.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, I] to [B, H', W', O]."""
        fused: Tensor = torch.ops.mambaseg.fused_conv3x3(
            x, self.packed, self.bias, self.outputs, self.stride,
            self.norm_weight, self.norm_bias, self.eps, self.activation,
        )  # fmt: skip
        return fused


class FusedDepthwise(nn.Module):
    """A depthwise 3x3 convolution and an activation; `residual` adds the input before the activation."""

    weight: Tensor

    def __init__(
        self, weights: PackedWeights, conv: nn.Module, *, activation: int = NONE, residual: bool = False
    ) -> None:
        super().__init__()
        fitting = convolution(conv, groups=conv.in_channels if isinstance(conv, nn.Conv2d) else 0)
        if fitting.stride != (1, 1) or fitting.out_channels != fitting.in_channels:
            raise UnfitError
        self.activation = activation
        _hold(self, "weight", weights.add(_with_residual if residual else _by_tap, fitting.weight))
        _hold(self, "bias", fitting.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        fused: Tensor = torch.ops.mambaseg.depthwise3x3(x, self.weight, self.bias, self.activation)
        return fused


def convolution(conv: nn.Module, *, groups: int) -> nn.Conv2d:
    """Return the module if it is a 3x3 convolution of padding 1 with so many groups; raise `UnfitError`."""
    fitting = expect(conv, nn.Conv2d)
    window = (fitting.kernel_size, fitting.padding, fitting.dilation, fitting.padding_mode, fitting.groups)
    if window != ((3, 3), (1, 1), (1, 1), "zeros", groups):
        raise UnfitError
    return fitting


def _by_tap(weight: Tensor) -> Tensor:
    """Map [C, 1, 3, 3] to [9, C]."""
    return weight.flatten(1).mT.clone(memory_format=torch.contiguous_format)


def _with_residual(weight: Tensor) -> Tensor:
    taps = _by_tap(weight)
    taps[4] += 1
    return taps


class FusedScan(nn.Module):
    """A directional scan, without the checks of `ops` and with its rates computed once.

    Args:
        weights: Where weights are packed.
        scan: The plain scan.
        op: `ops.ss2d` or `ops.bidirectional_scan`, which the scan must call.
        pack: Whether to pack the first projection too: not where it is most of a network's weights.
    """

    A: Tensor

    def __init__(
        self, weights: PackedWeights, scan: nn.Module, op: Callable[..., Tensor], *, pack: bool = True
    ) -> None:
        super().__init__()
        fitting = expect(scan, DirectionalScan)
        if fitting.op is not op:
            raise UnfitError
        self.is_map = op is ops.ss2d
        self.directions, self.rows = fitting.x_proj.shape[:2]
        self.dt_proj, self.dt_bias, self.D = fitting.dt_proj, fitting.dt_bias, fitting.D
        _hold(self, "A", weights.add(rates, fitting.A_log))
        self.project: FusedLinear | None = None
        if pack:
            packed = weights.add_linear(lambda x: x.flatten(0, 1), fitting.x_proj)
            self.project = FusedLinear(packed, None, self.directions * self.rows)
        else:
            self.x_proj = fitting.x_proj

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C], or [B, C, L] to [B, 2, C, L]."""
        rest = self.dt_proj, self.dt_bias, self.A, self.D
        split = self.directions, self.rows
        if self.is_map:
            proj = cast(FusedLinear, self.project)(x).unflatten(-1, split)
            y: Tensor = torch.ops.mambaseg.ss2d(x, proj, *rest)
            return y
        # the bits of torch's matmul depend on the number of threads
        product = torch.matmul(self.x_proj.flatten(0, 1), x) if self.project is None else self.project(x.mT).mT
        fused: Tensor = torch.ops.mambaseg.bidirectional_scan(x, product.unflatten(1, split), *rest)
        return fused
