"""TF32 on a GPU: torch's process-wide flags around a frame, their return, and threads with different precisions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mambaseg_core import inference, tracing
from mambaseg_core.checkpoint import create_model
from mambaseg_core.inference import Segmenter
from mambaseg_core.precision import allow_tf32, float32_products

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BACKENDS: Any = torch.backends
NEW = hasattr(torch.backends.cudnn, "conv")  # torch 2.9 and later
LIMIT_S = 60


def flags() -> tuple[str, ...]:
    """Return what cuBLAS and cuDNN look at: the precision of products and convolutions, and of CPU products."""
    products = torch.get_float32_matmul_precision()
    if not NEW:
        return products, str(torch.backends.cudnn.allow_tf32)
    holders = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.mkldnn.matmul)
    return (products, *(holder.fp32_precision for holder in holders))


def tf32() -> tuple[bool, bool]:
    """Return whether products and convolutions on CUDA would run in TF32 now."""
    if NEW:
        return BACKENDS.cuda.matmul.fp32_precision == "tf32", BACKENDS.cudnn.conv.fp32_precision == "tf32"
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(params=["as torch starts", "products in TF32", "medium", "nothing in TF32"])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Set the process's own flags; return them."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision({"products in TF32": "high", "medium": "medium"}.get(request.param, "highest"))
    torch.backends.cudnn.allow_tf32 = request.param != "nothing in TF32"
    yield flags()
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


def test_only_float32_computes_in_float32_and_the_flags_come_back(before: tuple[str, ...]) -> None:
    for precision in ("float32", "bfloat16", "float16", "tf32"):
        with float32_products(precision, GPU):
            assert tf32() == (precision != "float32",) * 2, precision
        assert flags() == before
    with pytest.raises(KeyError), float32_products("tf32", GPU):
        raise KeyError
    assert flags() == before


def test_nested_frames_put_back_what_each_found(before: tuple[str, ...]) -> None:
    with float32_products("tf32", GPU):
        with float32_products("float32", GPU):
            assert tf32() == (False, False)
        assert tf32() == (True, True)
    assert flags() == before


def test_nothing_is_set_for_the_cpu(before: tuple[str, ...]) -> None:
    with float32_products("float32", CPU):
        assert flags() == before


@pytest.mark.skipif(not NEW, reason="these flags came with torch 2.9")
def test_flags_that_were_set_by_torchs_newer_names_come_back() -> None:
    matmul = torch.backends.cuda.matmul
    found = matmul.fp32_precision
    matmul.fp32_precision = "tf32"  # torch.get_float32_matmul_precision now raises
    try:
        with allow_tf32(False):
            assert tf32() == (False, False)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = found


def test_a_thread_waits_for_the_frame_of_another_precision() -> None:
    seen: dict[str, list[tuple[bool, bool]]] = {"float32": [], "tf32": []}
    before = flags()

    def run(precision: str) -> None:
        for _ in range(200):
            with float32_products(precision, GPU):
                seen[precision] += [tf32() for _ in range(20)]

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert set(seen["float32"]) == {(False, False)}
    assert set(seen["tf32"]) == {(True, True)}
    assert flags() == before


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_segmenter_on_a_gpu_runs_its_model_under_these_flags(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def answer(*arguments: object) -> tracing.Answer:
        seen.append(tf32())
        return tracing.answer(*arguments)  # type: ignore[arg-type]

    segmenter = Segmenter(create_model("sigma_nano", image_size=(32, 48)), "cpu")
    segmenter.precision = precision
    monkeypatch.setattr(inference, "answer", answer)
    monkeypatch.setattr(inference, "float32_products", lambda name, device: float32_products(name, GPU))
    image = np.zeros((32, 48, 3), np.uint8)
    segmenter.segment(image, image[..., 0])
    assert seen == [(precision == "tf32",) * 2]
