"""Gradients of the operators in `ops.schemas`: backward scans in C++, the products around them in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mambaseg_core.ops import reference, schemas
from mambaseg_core.ops.selection import has_kernels

__all__ = ["schemas"]  # defines the operators whose gradients are registered here

Gradients = tuple[Tensor | None, ...]


def _refuse_second_derivative() -> None:
    """Raise RuntimeError if the running backward pass is to be differentiated again.

    Autograd enables gradients in a backward pass only for that.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "mambaseg: the compiled scans have no second derivative (create_graph=True was asked for); "
            "use backend='reference' or MAMBASEG_BACKEND=reference, which has one"
        )


def _through_reference(function: Callable[..., Tensor], inputs: tuple[Any, ...], gy: Tensor) -> Gradients:
    """Return gradients by autograd through the plain operator, for a device without kernels."""
    with torch.enable_grad():
        leaves = [v.detach().requires_grad_() if isinstance(v, Tensor) else v for v in inputs]
        tensors = [v for v in leaves if isinstance(v, Tensor)]
        found = iter(torch.autograd.grad(function(*leaves), tensors, gy, allow_unused=True))
    return tuple(next(found) if isinstance(v, Tensor) else None for v in leaves)


def _selective_scan_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.soft = inputs
    ctx.save_for_backward(*tensors)


def _selective_scan_backward(ctx: Any, gy: Tensor) -> Gradients:
    _refuse_second_derivative()
    tensors = ctx.saved_tensors
    if not has_kernels(gy.device):
        return _through_reference(reference.selective_scan, (*tensors, ctx.soft), gy)
    gu, gdelta, gA, gB, gC, gD, gbias = torch.ops.mambaseg.selective_scan_backward(gy, *tensors, ctx.soft)
    has_skip, has_bias = tensors[5] is not None, tensors[6] is not None
    return (
        gu,
        gdelta,
        gA.sum(0),
        gB,
        gC,
        gD.sum(0) if has_skip else None,
        gbias.sum(0) if has_bias else None,
        None,
    )


def _projected_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _ss2d_backward(ctx: Any, gy: Tensor) -> Gradients:
    _refuse_second_derivative()
    x, proj, weight, *_ = tensors = ctx.saved_tensors
    if not has_kernels(gy.device):
        return _through_reference(reference.ss2d_projected, tensors, gy)
    rank = weight.shape[2]
    gx, gproj, gdelta, gA = torch.ops.mambaseg.ss2d_backward(gy, *tensors)  # gdelta [B, 4, L, C]
    low = proj[..., :rank].flatten(1, 2).transpose(1, 2)  # [B, 4, L, R]
    glow = torch.matmul(gdelta, weight).transpose(1, 2).reshape(*proj.shape[:-1], rank)
    gskip = (gy * x).sum((0, 1, 2)).repeat(4)
    return (
        gx,
        torch.cat((glow, gproj[..., rank:]), -1),
        torch.matmul(gdelta.mT, low).sum(0),
        gdelta.sum((0, 2)),
        gA.sum(0),
        gskip,
    )


def _turn(x: Tensor) -> Tensor:
    """Return [B, 2, M, L] with direction 1 reversed in time; its own inverse."""
    return torch.stack((x[:, 0], x[:, 1].flip(-1)), 1)


def _bidirectional_backward(ctx: Any, gy: Tensor) -> Gradients:
    _refuse_second_derivative()
    x, proj, weight, bias, A, D = tensors = ctx.saved_tensors
    if not has_kernels(gy.device):
        return _through_reference(reference.bidirectional_scan_projected, tensors, gy)
    state, rank = A.shape[1], weight.shape[2]
    low, b, c = torch.split(_turn(proj), [rank, state, state], dim=2)
    u = torch.cat((x, x.flip(-1)), 1)  # [B, 2C, L]
    delta = torch.matmul(weight, low)  # [B, 2, C, L]
    gu, gdelta, gA, gB, gC, gD, gbias = torch.ops.mambaseg.selective_scan_backward(
        gy.flatten(1, 2), u, delta.flatten(1, 2), A, b, c, D, bias.flatten(), True
    )
    forward, backward = gu.chunk(2, 1)
    gdelta = gdelta.reshape(delta.shape)
    glow = torch.matmul(weight.mT, gdelta)
    return (
        forward + backward.flip(-1),
        _turn(torch.cat((glow, gB, gC), 2)),
        torch.matmul(gdelta, low.mT).sum(0),
        gbias.sum(0).reshape(bias.shape),
        gA.sum(0),
        gD.sum(0),
    )


torch.library.register_autograd(
    "mambaseg::selective_scan", _selective_scan_backward, setup_context=_selective_scan_setup
)
torch.library.register_autograd("mambaseg::ss2d", _ss2d_backward, setup_context=_projected_setup)
torch.library.register_autograd("mambaseg::bidirectional_scan", _bidirectional_backward, setup_context=_projected_setup)
