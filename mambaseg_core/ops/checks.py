"""Checks of shapes, dtypes and devices; an error names the argument, its value and the expected one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a scan over `dtype` is computed: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def need_shape(op: str, name: str, tensor: Tensor, expected: Sequence[int], letters: str) -> None:
    """Raise ValueError unless `tensor` has the shape `expected`, described by `letters`."""
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"{op}: {name} has shape {list(tensor.shape)}, expected {letters} = {list(expected)}")


def need_dims(op: str, name: str, tensor: Tensor, letters: str) -> None:
    """Raise unless `tensor` is a tensor with one dimension per entry of `letters`, such as "[B, N]"."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: {name} is a {type(tensor).__name__}, expected a torch.Tensor {letters}")
    if tensor.dim() != letters.count(",") + 1:
        raise ValueError(f"{op}: {name} has shape {list(tensor.shape)}, expected {letters}")


def need_types(op: str, first: str, data: dict[str, Tensor], parameters: dict[str, Tensor | None]) -> None:
    """Check dtypes and devices against the tensor named `first`.

    Args:
        op: Name of the operator for the message.
        first: Key of `data` that sets the dtype and the device.
        data: Activations, all of the same floating dtype.
        parameters: Weights of that dtype, or float32 beside half-precision activations (autocast).

    Raises:
        TypeError: A dtype that is not floating or does not fit.
        ValueError: A tensor on another device.
    """
    head = data[first]
    if head.dtype not in FLOATS:
        raise TypeError(f"{op}: {first} is {head.dtype}, expected float32, float64, bfloat16 or float16")
    wide = accumulator(head.dtype)
    for name, tensor in {**data, **parameters}.items():
        if tensor is None:
            continue
        if tensor.device != head.device:
            raise ValueError(f"{op}: {name} is on {tensor.device}, expected {head.device} (the device of {first})")
        allowed = (head.dtype,) if name in data else (head.dtype, wide)
        if tensor.dtype not in allowed:
            names = " or ".join(dict.fromkeys(str(dtype) for dtype in allowed))
            raise TypeError(f"{op}: {name} is {tensor.dtype}, expected {names} ({first} is {head.dtype})")


def selective_scan_arguments(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
) -> None:
    """Check the arguments of `selective_scan`; shapes as documented there."""
    op = "selective_scan"
    for name, tensor, letters in (
        ("u", u, "[B, K*C, L]"),
        ("delta", delta, "[B, K*C, L]"),
        ("A", A, "[K*C, N]"),
        ("B", B, "[B, K, N, L]"),
        ("C", C, "[B, K, N, L]"),
    ):
        need_dims(op, name, tensor, letters)
    batch, channels, length = u.shape
    groups, state = B.shape[1], A.shape[1]
    need_shape(op, "delta", delta, (batch, channels, length), "[B, K*C, L]")
    need_shape(op, "A", A, (channels, state), "[K*C, N]")
    need_shape(op, "B", B, (batch, groups, state, length), "[B, K, N, L]")
    need_shape(op, "C", C, (batch, groups, state, length), "[B, K, N, L]")
    if groups == 0 or channels % groups != 0:
        raise ValueError(
            f"{op}: B has {groups} groups (dimension 1), expected a divisor of the {channels} channels of u"
        )
    for name, vector in (("D", D), ("delta_bias", delta_bias)):
        if vector is not None:
            need_dims(op, name, vector, "[K*C]")
            need_shape(op, name, vector, (channels,), "[K*C]")
    need_types(op, "u", {"u": u, "delta": delta, "B": B, "C": C}, {"A": A, "D": D, "delta_bias": delta_bias})


def projected_scan_arguments(
    op: str,
    x: Tensor,
    x_letters: str,
    directions: int,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    D: Tensor,
) -> None:
    """Check the arguments of `ss2d` (x channels last) and of `bidirectional_scan` (x [B, C, L])."""
    k = directions
    channel_dim = -1 if op == "ss2d" else 1
    for name, tensor, letters in (
        ("x", x, x_letters),
        ("x_proj_weight", x_proj_weight, f"[{k}, R+2N, C]"),
        ("dt_projs_weight", dt_projs_weight, f"[{k}, C, R]"),
        ("dt_projs_bias", dt_projs_bias, f"[{k}, C]"),
        ("A", A, f"[{k}*C, N]"),
        ("D", D, f"[{k}*C]"),
    ):
        need_dims(op, name, tensor, letters)
    channels, state, rank = x.shape[channel_dim], A.shape[1], dt_projs_weight.shape[2]
    need_shape(op, "A", A, (k * channels, state), f"[{k}*C, N]")
    need_shape(op, "dt_projs_weight", dt_projs_weight, (k, channels, rank), f"[{k}, C, R]")
    need_shape(op, "dt_projs_bias", dt_projs_bias, (k, channels), f"[{k}, C]")
    need_shape(op, "x_proj_weight", x_proj_weight, (k, rank + 2 * state, channels), f"[{k}, R+2N, C]")
    need_shape(op, "D", D, (k * channels,), f"[{k}*C]")
    need_types(
        op,
        "x",
        {"x": x},
        {
            "x_proj_weight": x_proj_weight,
            "dt_projs_weight": dt_projs_weight,
            "dt_projs_bias": dt_projs_bias,
            "A": A,
            "D": D,
        },
    )
