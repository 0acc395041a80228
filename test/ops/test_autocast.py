"""Under autocast the scans take any dtype and compute in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from mambaseg_core import ops
from mambaseg_core.checkpoint import create_model


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 3


def soft_scan(*inputs: Tensor, backend: str) -> Tensor:
    return ops.selective_scan(*inputs, delta_softplus=True, backend=backend)


WEIGHTS = [draw(4, 8, 6), draw(4, 6, 2), draw(4, 6), -draw(24, 3).abs(), draw(24)]
CALLS: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
    "selective_scan": (
        soft_scan,
        [draw(2, 6, 9), draw(2, 6, 9), -draw(6, 3).abs(), draw(2, 2, 3, 9), draw(2, 2, 3, 9), draw(6), draw(6)],
    ),
    "ss2d": (ops.ss2d, [draw(2, 3, 5, 6), *WEIGHTS]),
    "bidirectional_scan": (ops.bidirectional_scan, [draw(2, 6, 9), *(w[: len(w) // 2] for w in WEIGHTS)]),
}


@pytest.mark.parametrize("backend", [name for name in ops.backends() if name in ("cpu", "reference")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CALLS)
def test_autocast_changes_no_bit(name: str, dtype: torch.dtype, backend: str) -> None:
    call, inputs = CALLS[name]
    data = (0, 1, 3, 4) if name == "selective_scan" else (0,)  # the others are weights and stay float32
    inputs = [v.to(dtype) if i in data else v for i, v in enumerate(inputs)]

    def run(autocast: bool) -> list[Tensor]:
        leaves = [v.clone().requires_grad_() for v in inputs]
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            y = call(*leaves, backend=backend)
        return [y.detach(), *torch.autograd.grad(y.float().square().sum(), leaves)]

    plain, under_autocast = run(False), run(True)
    assert under_autocast[0].dtype == dtype
    for got, wanted in zip(under_autocast, plain, strict=True):
        assert torch.equal(got, wanted)


def test_a_network_learns_under_autocast() -> None:
    torch.manual_seed(0)
    model = create_model("mambaseg_ddd17", image_size=(32, 32)).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(draw(2, 1, 32, 32), draw(2, 10, 32, 32))
        loss = logits.float().square().mean()
    loss.backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.gpu
def test_half_precision_under_cuda_autocast() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    call, inputs = CALLS["ss2d"]
    inputs = [v.cuda() for v in inputs]
    wanted = call(inputs[0].half(), *inputs[1:])
    with torch.autocast("cuda", torch.float16):
        assert torch.equal(call(inputs[0].half(), *inputs[1:]), wanted)
