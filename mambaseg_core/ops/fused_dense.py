"""Matrix products fused with what stands around them: LayerNorm, bias, activation, residual, MLP and 3x3 convolution.

The operators are for inference. Features are channels last, float32 or float64. The plain forms here are the
specification, `csrc/cpu/dense*` the kernels. A weight is packed once, into panels of 16 output channels. The layout is
the same for every processor. Its header holds the sizes, so the packed weight of another layer is refused.

With a weight packed in bfloat16, both factors of the product are rounded to bfloat16, and multiplied and added up in
float32; features, norm, bias, activation and residual stay float32.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mambaseg_core.ops import fused
from mambaseg_core.ops.autocast import without_autocast

_PANEL: Final = 16  # output channels side by side
_HEADER: Final = 16  # numbers before the panels: _MAGIC, O, I, taps, zeros; keeps the panels aligned
_MAGIC: Final = 16180.0
_BFLOAT16_DEPTH: Final = 32  # the depth of a bfloat16 panel is padded with zeros to a multiple of it

# ---- packing ----


def _packed_size(out_features: int, in_features: int, taps: int, *, bfloat16: bool) -> int:
    panels, depth = (out_features + _PANEL - 1) // _PANEL, in_features * taps
    if not bfloat16:
        return _HEADER + panels * _PANEL * depth
    return 2 * _HEADER + panels * _PANEL * (depth + -depth % _BFLOAT16_DEPTH)


def _pack(rows: Tensor, taps: int, *, bfloat16: bool) -> Tensor:
    """Pack [O, taps * I] into a header and panels padded with zeros.

    A panel is [taps * I, 16], or [taps * I / 2, 16, 2] in bfloat16, where the header is float32 in the memory of twice
    as many numbers.
    """
    out_features, depth = rows.shape
    header = rows.new_zeros(_HEADER)
    header[:4] = rows.new_tensor((_MAGIC, out_features, depth // taps, taps))
    rows = F.pad(rows, (0, -depth % _BFLOAT16_DEPTH if bfloat16 else 0, 0, -out_features % _PANEL))
    if not bfloat16:
        return torch.cat((header, rows.view(-1, _PANEL, depth).mT.flatten()))
    pairs = rows.bfloat16().view(-1, _PANEL, rows.shape[1] // 2, 2)
    return torch.cat((header.float().view(torch.bfloat16), pairs.transpose(1, 2).flatten()))


def _unpack(op: str, packed: Tensor, out_features: int, in_features: int, taps: int) -> Tensor:
    """Return the weight [O, taps * I] of a packed one, which in bfloat16 has become float32."""
    expected, half = [_MAGIC, out_features, in_features, taps], packed.dtype == torch.bfloat16
    size, start = _packed_size(out_features, in_features, taps, bfloat16=half), _HEADER * (2 if half else 1)
    header = packed.flatten()[:start]
    found = (header.view(torch.float32) if half and header.numel() == start else header)[:4].tolist()
    if packed.shape != (size,) or found != expected:
        kind = "pack_linear" if taps == 1 else "pack_conv3x3"
        raise RuntimeError(
            f"{op}: packed has shape {list(packed.shape)} and header {found}, expected [{size}] and {expected}; pack "
            f"this layer's weight by {kind}"
        )
    depth = taps * in_features
    if not half:
        return packed[start:].view(-1, depth, _PANEL).mT.reshape(-1, depth)[:out_features]
    pairs = packed[start:].view(-1, (depth + -depth % _BFLOAT16_DEPTH) // 2, _PANEL, 2)
    return pairs.transpose(1, 2).flatten(2).flatten(0, 1)[:out_features, :depth].float()


def _factor(op: str, x: Tensor, packed: Tensor) -> Tensor:
    """Return x as it is multiplied with a packed weight."""
    if packed.dtype != torch.bfloat16:
        return x
    if x.dtype != torch.float32:
        raise RuntimeError(
            f"{op}: packed is bfloat16 and x is {x.dtype}; give float32 features, or pack in their dtype"
        )
    return x.bfloat16().float()


def _pack_linear(weight: Tensor, bfloat16: bool = False) -> Tensor:
    """Pack the weight [O, I] of a linear layer."""
    if weight.ndim != 2 or 0 in weight.shape:
        raise RuntimeError(f"pack_linear: weight has shape {list(weight.shape)}, expected [O, I], neither of them 0")
    return _pack(weight, taps=1, bfloat16=bfloat16)


def _pack_conv3x3(weight: Tensor, bfloat16: bool = False) -> Tensor:
    """Pack the weight [O, I, 3, 3] of a convolution."""
    if weight.ndim != 4 or weight.shape[2:] != (3, 3) or 0 in weight.shape:
        raise RuntimeError(
            f"pack_conv3x3: weight has shape {list(weight.shape)}, expected [O, I, 3, 3], neither O nor I 0"
        )
    return _pack(weight.permute(0, 2, 3, 1).flatten(1), taps=9, bfloat16=bfloat16)


# ---- plain forms: the specification ----


def _normalized(op: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    if weight is None:
        if bias is not None:
            raise RuntimeError(f"{op}: norm_bias is given without norm_weight; give both, the weight alone, or neither")
        return x
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _fused_linear(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_features: int,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    """Compute activation(norm(x) W^T + bias) + residual for x [..., I]."""
    op = "fused_linear"
    weight = _unpack(op, packed, out_features, x.shape[-1], taps=1)
    with without_autocast(x.device.type):
        factor = _factor(op, _normalized(op, x, norm_weight, norm_bias, eps), packed)
        y = fused.activate(F.linear(factor, weight, bias), activation)
    if residual is None:
        return y.contiguous()
    if residual.shape != y.shape:
        raise RuntimeError(f"{op}: residual has shape {list(residual.shape)}, expected {list(y.shape)}")
    return (y + residual).contiguous()


def _fused_mlp(
    x: Tensor,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    packed1: Tensor,
    bias1: Tensor | None,
    hidden: int,
    packed2: Tensor,
    bias2: Tensor | None,
    activation: int,
    residual: bool,
) -> Tensor:
    """Compute W2 activation(W1 norm(x) + bias1) + bias2 (+ x) for x [..., C]."""
    op, channels = "fused_mlp", x.shape[-1]
    first = _unpack(op, packed1, hidden, channels, taps=1)
    second = _unpack(op, packed2, channels, hidden, taps=1)
    with without_autocast(x.device.type):
        factor = _factor(op, _normalized(op, x, norm_weight, norm_bias, eps), packed1)
        factor = _factor(op, fused.activate(F.linear(factor, first, bias1), activation), packed2)
        y = F.linear(factor, second, bias2)
    return (y + x if residual else y).contiguous()


def _fused_conv3x3(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_channels: int,
    stride: int,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    activation: int,
) -> Tensor:
    """Compute activation(norm(conv(x))) for x [B, H, W, I], padding 1; the norm is over the output channels."""
    op = "fused_conv3x3"
    if x.ndim != 4:
        raise RuntimeError(f"{op}: x has shape {list(x.shape)}, expected [B, H, W, I]")
    if stride not in (1, 2):
        raise RuntimeError(f"{op}: stride is {stride}, expected 1 or 2")
    rows = _unpack(op, packed, out_channels, x.shape[-1], taps=9)
    weight = rows.view(out_channels, 3, 3, x.shape[-1]).permute(0, 3, 1, 2)
    with without_autocast(x.device.type):
        y = F.conv2d(_factor(op, x, packed).permute(0, 3, 1, 2), weight, bias, stride, padding=1).permute(0, 2, 3, 1)
        y = _normalized(op, y, norm_weight, norm_bias, eps)
        return fused.activate(y, activation).contiguous()


# ---- fakes: shapes without data ----


def _packed_fake(weight: Tensor, taps: int, *, bfloat16: bool) -> Tensor:
    size = _packed_size(weight.shape[0], weight.shape[1], taps, bfloat16=bfloat16)
    return weight.new_empty(size, dtype=torch.bfloat16 if bfloat16 else weight.dtype)


def _pack_linear_fake(weight: Tensor, bfloat16: bool = False) -> Tensor:
    return _packed_fake(weight, taps=1, bfloat16=bfloat16)


def _pack_conv3x3_fake(weight: Tensor, bfloat16: bool = False) -> Tensor:
    return _packed_fake(weight, taps=9, bfloat16=bfloat16)


def _fused_linear_fake(x: Tensor, packed: Tensor, bias: Tensor | None, out_features: int, *_: Any) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


def _fused_mlp_fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


def _fused_conv3x3_fake(
    x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, stride: int, *_: Any
) -> Tensor:
    height, width = ((size - 1) // stride + 1 for size in x.shape[1:3])
    return x.new_empty((x.shape[0], height, width, out_channels))


_PACK: Final = "(Tensor weight, bool bfloat16=False) -> Tensor"
fused.register("pack_linear", _PACK, _pack_linear, _pack_linear_fake)
fused.register("pack_conv3x3", _PACK, _pack_conv3x3, _pack_conv3x3_fake)
fused.register(
    "fused_linear",
    "(Tensor x, Tensor packed, Tensor? bias, int out_features, Tensor? norm_weight, Tensor? norm_bias, float eps,"
    " int activation, Tensor? residual) -> Tensor",
    _fused_linear,
    _fused_linear_fake,
)
fused.register(
    "fused_mlp",
    "(Tensor x, Tensor? norm_weight, Tensor? norm_bias, float eps, Tensor packed1, Tensor? bias1, int hidden,"
    " Tensor packed2, Tensor? bias2, int activation, bool residual) -> Tensor",
    _fused_mlp,
    _fused_mlp_fake,
)
fused.register(
    "fused_conv3x3",
    "(Tensor x, Tensor packed, Tensor? bias, int out_channels, int stride, Tensor? norm_weight, Tensor? norm_bias,"
    " float eps, int activation) -> Tensor",
    _fused_conv3x3,
    _fused_conv3x3_fake,
)

# ---- flops: two per multiply-add of the products ----


@register_flop_formula(torch.ops.mambaseg.fused_linear)
def _linear_flops(x: torch.Size, packed: Any, bias: Any, out_features: int, *_: Any, **__: Any) -> int:
    return int(2 * x.numel() * out_features)


@register_flop_formula(torch.ops.mambaseg.fused_mlp)
def _mlp_flops(
    x: torch.Size,
    norm_weight: Any,
    norm_bias: Any,
    eps: float,
    packed1: Any,
    bias1: Any,
    hidden: int,
    *_: Any,
    **__: Any,
) -> int:
    return int(4 * x.numel() * hidden)


@register_flop_formula(torch.ops.mambaseg.fused_conv3x3)
def _conv_flops(x: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    return int(2 * 9 * x[-1] * out_shape.numel())
