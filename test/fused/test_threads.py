"""The number of threads does not change a bit of the inference forms of `mambaseg_nano` and `mambaseg_compact`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mambaseg_core import create_model
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.fused.networks import FusedMambaSeg


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(240, 320), (101, 75)])
@torch.inference_mode()
def test_the_same_bits_for_any_number_of_threads(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", image_size=size, weights="synthetic").eval()
    network = InferenceForm(model).network()
    assert isinstance(network, FusedMambaSeg)
    inputs, found = (torch.rand(1, 3, *size), torch.rand(1, 10, *size)), []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        found.append(network(*inputs))
    assert all(torch.equal(found[0], other) for other in found[1:])


class Names(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the names of all operators."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.add(str(func).rpartition(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["mambaseg_nano", "mambaseg_compact"])
@torch.no_grad()
def test_no_product_of_the_library_is_left(name: str) -> None:
    """MKL and oneDNN may divide a product by the number of threads, and then round otherwise."""
    model = create_model(name, image_size=(48, 64)).eval()
    network = InferenceForm(model).network()
    assert isinstance(network, FusedMambaSeg)
    inputs = torch.rand(1, model.in_channels, 48, 64), torch.rand(1, model.bins, 48, 64)
    with Names() as names:
        network.coarse(*inputs)
    assert not names.found & {f"aten.{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "convolution")}
