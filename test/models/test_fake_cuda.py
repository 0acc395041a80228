"""Every network on `cuda:0` without a GPU: no tensor is made on the CPU, and nothing waits for a value on the way."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from fake_cuda import GPU, META, OnlyOn, autocast, guard_devices, moved, only_on, why_not
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data.sample import Batch
from mambaseg_core.models.presets import PRESETS
from mambaseg_core.models.scans import DirectionalScan
from mambaseg_core.ops import gradients, reference, scan
from mambaseg_core.ops.reference import project_map
from mambaseg_core.precision import PRECISIONS, lowered
from mambaseg_core.tracing import answer
from mambaseg_core.training.config import LoopConfig, ModelConfig, OptimizerConfig, TrainConfig
from mambaseg_core.training.module import SegmentationModule

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SIZE = (37, 53)  # feature maps 10x14, 5x7, 3x4, 2x2
TRAINED = ("mambaseg_dsec", "mambaseg_nano", "sigma_nano", "rsgmamba_nano")  # one of each fusion


@pytest.fixture(scope="module")
def _guard(tmp_path_factory: pytest.TempPathFactory) -> None:
    guard_devices(tmp_path_factory.mktemp("guard"))


@pytest.fixture(autouse=True)
def _operators(_guard: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the registered operators, as on a card; `choose` sees none here."""
    monkeypatch.setattr(scan, "choose", lambda device, backend: "triton")
    monkeypatch.setattr(gradients, "has_kernels", lambda device: True)


def build(name: str) -> nn.Module:
    """Return a network on "meta", with reliability where it can have it."""
    with torch.device("meta"):
        return create_model(name, image_size=SIZE, reliability=PRESETS[name].reliability == "optional")


def frames(model: nn.Module) -> tuple[tuple[Tensor | None, Tensor | None], ...]:
    """Return both inputs, the image alone, the second input alone."""
    image, second = (torch.empty(cast(int, n), *SIZE, device=GPU) for n in (model.in_channels, model.bins))
    return (image, second), (image, None), (None, second)


def run(model: nn.Module, dtype: torch.dtype = torch.float32) -> OnlyOn:
    """Take the answers of a network from "meta" for each set of inputs on `cuda:0`."""
    model = lowered(model.eval(), dtype, GPU)
    with only_on(GPU) as watch, torch.inference_mode():
        for inputs in frames(moved(model, GPU)):
            found = answer(model, dtype, GPU, *inputs)
            assert found.ids.shape == found.confidence.shape == SIZE
    return watch


@pytest.mark.parametrize("dtype", dict.fromkeys(PRECISIONS.values()), ids=str)
@pytest.mark.parametrize("name", PRESETS)
def test_a_frame_stays_on_the_gpu(name: str, dtype: torch.dtype) -> None:
    watch = run(build(name), dtype)
    assert sum(count for op, count in watch.counts.items() if op.startswith("mambaseg.")) > 0


def test_the_reference_stays_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "choose", lambda device, backend: "reference")
    assert not any(op.startswith("mambaseg.") for op in run(build("rsgmamba_nano"), torch.float16).counts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_first_product_of_a_scan_has_the_features_dtype_on_the_gpu_only(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan after it is in float32 everywhere, and so is the product on other devices."""
    seen: list[tuple[torch.device, torch.dtype]] = []

    def project(x: Tensor, weight: Tensor) -> Tensor:
        assert weight.dtype == x.dtype
        seen.append((x.device, x.dtype))
        return project_map(x, weight)

    def scanned(x: Tensor, proj: Tensor, *weights: Tensor) -> Tensor:
        assert {v.dtype for v in (x, proj, *weights)} == {torch.float32}
        return x

    monkeypatch.setattr(reference, "project_map", project)
    monkeypatch.setattr(scan, "operators", lambda backend: SimpleNamespace(ss2d=scanned))
    model = build("mambaseg_nano")
    part = next(m for m in model.modules() if isinstance(m, DirectionalScan) and m.directions == 4)
    for device in (GPU, META):
        with only_on(device):
            x = torch.empty(1, 2, 3, part.channels, dtype=dtype, device=device)
            assert moved(part, device)(x).dtype == dtype
    assert seen == [(GPU, dtype), (META, torch.float32)]


class Faulty(nn.Module):
    """A network that does something to its features on the way."""

    in_channels, bins, reliability_aware = 3, 10, False

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.conv = fault, nn.Conv2d(3, 5, 1)

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        """Return logits."""
        x: Tensor = self.conv(second[:, :3] if image is None else image)  # type: ignore[index]
        if self.fault == "a tensor of the CPU":
            torch.zeros(3)
        if self.fault == "a constant of the CPU":
            x = x + torch.tensor([1.0, 2, 3, 4, 5])[:, None, None].to(x.device)
        if self.fault == "a copy to the CPU":
            x.cpu()
        if self.fault == "item" and x.mean().item() > 0:
            x = -x
        if self.fault == "branch" and bool(x.isfinite().all()):
            x = -x
        if self.fault == "nonzero":
            x[x > 0].sum()
        return x


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("a tensor of the CPU", r"aten\.zeros.* \[3\] on cpu"),
        ("a constant of the CPU", r"\[5\] on cpu"),
        ("a copy to the CPU", r"aten\.\w*to\w*\..* on cpu"),
        ("item", "waits|_local_scalar_dense"),
        ("branch", "waits|_local_scalar_dense"),
        ("nonzero", "waits"),
    ],
)
def test_the_watch_sees(fault: str, message: str) -> None:
    run(Faulty("none"))
    with pytest.raises((AssertionError, DataDependentOutputException), match=message):
        run(Faulty(fault))


@pytest.mark.slow
def test_a_whole_network_compiles_in_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU with real values; inductor's code and CUDA need a compiler and a card."""
    monkeypatch.undo()  # the choice of operators is the CPU's
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", image_size=SIZE, reliability=True).eval()
    inputs = torch.rand(1, 3, *SIZE), torch.randn(1, 10, *SIZE)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


def in_training(name: str) -> SegmentationModule:
    """Return a network on "meta" as Lightning trains it."""
    config = TrainConfig(ModelConfig(name), OptimizerConfig(lr=1e-3), LoopConfig(steps=1))
    return SegmentationModule(build(name).train(), config, 1)


def take_loss(module: SegmentationModule, dtype: torch.dtype | None, device: torch.device = GPU) -> Tensor:
    """Return the loss of a batch; call it within `only_on`."""
    model = moved(module.model, device)
    image, second = (torch.empty(2, cast(int, n), *SIZE, device=device) for n in (model.in_channels, model.bins))
    label = torch.full((2, *SIZE), 255, device=device)
    batch = Batch(
        image, second, label, (0, 1), ("a", "b"), (0, 1), ("day", "day"), ((False, False), (True, False)), (0, 0)
    )
    with nullcontext() if dtype is None else autocast(dtype):
        return module._loss(batch)[0]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_of_a_training_step_stays_on_the_gpu(name: str, dtype: torch.dtype | None) -> None:
    module = in_training(name)
    with only_on(GPU) as watch:
        loss = take_loss(module, dtype)
    assert (torch.bfloat16 in watch.dtypes) == (dtype == torch.bfloat16)
    assert (loss.shape, loss.dtype, loss.device) == ((), torch.float32, GPU)


@pytest.mark.parametrize("name", TRAINED)
def test_the_gradients_of_a_training_step_stay_on_one_device(name: str) -> None:
    """On "meta": torch's engine refuses CUDA in a CPU build. In float32: autocast knows no "meta"."""
    module = in_training(name)
    with only_on(META) as watch:
        take_loss(module, None, META).backward()  # type: ignore[no-untyped-call]
    found = [p.grad.device for p in module.parameters() if p.grad is not None]
    assert set(found) == {META}
    assert len(found) > 100
    assert any(op.startswith("mambaseg.") and "backward" in op for op in watch.counts)


def test_a_training_step_reads_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading waits for the GPU; the losses are read together, where they are shown or weights are saved."""
    module = in_training("mambaseg_nano")
    trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])], global_step=7)
    monkeypatch.setattr(SegmentationModule, "trainer", trainer)
    monkeypatch.setattr(SegmentationModule, "global_step", 7)
    monkeypatch.setattr(SegmentationModule, "log", lambda self, name, value, prog_bar=False: None)
    monkeypatch.setattr(module, "_loss", lambda batch: (torch.empty((), device=GPU), None))
    with only_on(GPU):
        pixels = torch.empty(1, 1, 4, 4, device=GPU)
        batch = Batch(pixels, pixels, pixels[0], (5,), ("a",), (3,), ("day",), ((False, False),), (0,))
        assert module.training_step(batch, 0).device == GPU
        with pytest.raises(AssertionError, match="waits for a value"):
            module.check_losses()
