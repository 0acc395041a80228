"""The way of a GPU, on a CPU: static buffers and graphs give the bits of the plain way, or are left at once."""

from __future__ import annotations

import copy
import pickle
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_graphs import FakeCuda
from torch import Tensor, nn

from mambaseg_core import inference
from mambaseg_core.checkpoint import create_model
from mambaseg_core.events import Events
from mambaseg_core.graphs import CapturedModel, _NoCopy
from mambaseg_core.inference import Mask, Segmenter
from mambaseg_core.models.presets import PRESETS

SIZE = (24, 32)
CPU = torch.device("cpu")
FRAME = torch.zeros(1, 3, *SIZE), torch.zeros(1, 10, *SIZE)
CASES = [
    (name, precision)
    for name in ("mambaseg_nano", "sigma_nano", "rsgmamba_nano")
    for precision in ("float32", "bfloat16")
]


def made(model: nn.Module, name: str = "mambaseg_nano", precision: str = "float32", said: Any = None) -> Segmenter:
    setup = replace(PRESETS[name].preprocessing, size=SIZE, view_size=SIZE, crop_bottom=0)
    warn = [].append if said is None else said.append
    return Segmenter(model, "cpu", preprocessing=setup, precision=precision, warn=warn)


def on_device(segmenter: Segmenter, cuda: FakeCuda | None) -> CapturedModel:
    """Give a Segmenter the buffers that it has on a GPU."""
    captured = CapturedModel(segmenter.model, segmenter.dtype, CPU, segmenter.preprocessing, segmenter.precision, cuda)
    segmenter._captured = captured
    return captured


def on_gpu(segmenter: Segmenter, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a Segmenter believe itself on a GPU."""

    def on_cpu(model: nn.Module, dtype: torch.dtype, _device: Any, setup: Any, precision: str, _cuda: Any) -> Any:
        return CapturedModel(model, dtype, CPU, setup, precision, cuda)

    monkeypatch.setattr(inference, "CapturedModel", on_cpu)
    segmenter.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]


def on_graph(segmenter: Segmenter, *inputs: Any) -> Mask:
    return segmenter._segment_on_device(*inputs, None)


def same(a: Mask, b: Mask) -> bool:
    equal = np.array_equal(a.ids, b.ids) and np.array_equal(a.confidence, b.confidence)
    return equal and a.reliability == b.reliability


def frame(second: str, seed: int, events: int = 500) -> tuple[np.ndarray, Any]:
    """Return an image and a second input; the times of events divide the window, so that sums of a grid are exact."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    if second != "events":
        return image, rng.integers(0, 256, SIZE, np.uint8)
    t_ns = np.sort(np.append(rng.integers(0, 64, events), (0, 64)[: 2 * bool(events)])) * 2**20 * 9
    x, y, p = (rng.integers(0, below, len(t_ns)) for below in (SIZE[1], SIZE[0], 2))
    return image, Events.from_arrays(x, y, t_ns, p, height=SIZE[0], width=SIZE[1])


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CPU run the plain network, as a GPU does: its fused form gives other bits."""
    monkeypatch.setattr(Segmenter, "_network", lambda self: self.model)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    return FakeCuda()


@pytest.fixture(scope="module")
def nano() -> nn.Module:
    torch.manual_seed(0)
    return create_model("mambaseg_nano", image_size=SIZE).eval()


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "graphs"])
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_buffers_and_graphs_give_the_bits_of_the_plain_way(
    name: str, precision: str, graphs: bool, cuda: FakeCuda
) -> None:
    torch.manual_seed(0)
    plain = made(create_model(name, image_size=SIZE), name, precision)
    segmenter = copy.deepcopy(plain)
    captured = on_device(segmenter, cuda if graphs else None)
    on_graph(segmenter, *frame(plain.preprocessing.second, 5))  # in `warm_up` a frame comes before the capture
    if graphs:
        captured.capture()
    answers = []
    for seed, events in ((1, 500), (2, 0), (3, 1), (4, 3000)):
        image, second = frame(plain.preprocessing.second, seed, events)
        for inputs in ((image, second), (image, None), (None, second)):
            answers.append((on_graph(segmenter, *inputs), plain.segment(*inputs)))
    assert all(same(got, wanted) for got, wanted in answers)  # also those of earlier frames
    if graphs:
        assert [graph.replays for graph in cuda.graphs] == [5, 5, 5]  # one to check it, four frames


def test_a_prepared_image_has_the_bits_of_the_plain_way(nano: nn.Module, cuda: FakeCuda) -> None:
    plain, segmenter = made(nano), made(nano)
    on_device(segmenter, cuda)
    image, second = frame("events", 1)
    taken = image.copy()
    prepared = segmenter.prepare_image(taken)
    taken[:] = 0  # a camera's buffer is written again
    for events in (second, second.part(0, 200)):
        assert same(on_graph(segmenter, prepared, events), plain.segment(image, events))


def test_warm_up_captures_and_every_frame_after_it_replays(
    nano: nn.Module, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a Segmenter that believes itself on a GPU, from the outside."""
    said: list[str] = []
    segmenter, plain = made(nano, said=said), made(nano)
    on_gpu(segmenter, cuda, monkeypatch)
    segmenter.warm_up()
    assert len(cuda.graphs) == 3
    other = segmenter.for_camera(None)
    for seed, events in ((1, 500), (2, 0), (3, 1)):
        image, second = frame("events", seed, events)
        before = [graph.replays for graph in cuda.graphs]
        for inputs in ((image, second), (image, None), (None, second)):
            assert same(segmenter.segment(*inputs), plain.segment(*inputs))
            assert same(other.segment(*inputs), plain.segment(*inputs))
        assert [graph.replays - n for graph, n in zip(cuda.graphs, before, strict=True)] == [2, 2, 2]
    segmenter.warm_up()  # anew, as after a change of the model
    assert len(cuda.graphs) == 6
    assert same(segmenter.segment(*frame("events", 4)), plain.segment(*frame("events", 4)))
    assert not said


def test_a_frame_waits_once(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    on_device(segmenter, cuda).capture()
    before = cuda.waits
    on_graph(segmenter, *frame("events", 1))
    assert cuda.waits == before + 1


def test_more_events_than_ever_and_larger_sensors(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    on_device(segmenter, cuda).capture()
    rng = np.random.default_rng(0)
    number, (height, width) = (1 << 17) + 7, (2 * SIZE[0], 2 * SIZE[1])
    x, y, p = (rng.integers(0, below, number) for below in (width, height, 2))
    events = Events.from_arrays(x, y, np.arange(number), p, height=height, width=width)
    got, wanted = on_graph(segmenter, None, events), made(nano).segment(None, events)
    np.testing.assert_allclose(got.confidence, wanted.confidence, atol=1e-3)
    small = frame("events", 1)
    assert same(on_graph(segmenter, *small), made(nano).segment(*small))


def test_new_values_of_weights_are_seen_and_new_weights_end_the_graphs(nano: nn.Module, cuda: FakeCuda) -> None:
    said: list[str] = []
    segmenter = made(copy.deepcopy(nano), said=said)
    on_device(segmenter, cuda).capture()
    given = frame("events", 1)
    weights = list(segmenter.model.parameters())
    with torch.no_grad():
        weights[0].mul_(2)
    assert same(on_graph(segmenter, *given), made(segmenter.model).segment(*given))
    assert not said
    weights[0].data = weights[0].data * 0.5  # another place in memory
    assert same(on_graph(segmenter, *given), made(segmenter.model).segment(*given))
    assert "has changed since `warm_up` and runs without its graphs" in said[0]


class Sum(nn.Module):
    """A small network that TorchScript takes."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(13, 5, 1)

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.cat((image, second), 1))
        return logits


class Counting(nn.Module):
    """A network of a user's own that reads a value."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(13, 5, 1)

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.cat((image, second), 1))
        return logits * 2 if float(logits.sum()) > 0 else logits


def test_a_model_that_cannot_be_captured_runs_eagerly_with_a_sentence(cuda: FakeCuda) -> None:
    torch.manual_seed(0)
    said: list[str] = []
    segmenter = made(Counting(), said=said)
    segmenter._capture(on_device(segmenter, cuda))
    assert "cannot be captured in a CUDA graph: its Python code depends on values" in said[0]
    given = frame("events", 1)
    assert same(on_graph(segmenter, *given), made(segmenter.model).segment(*given))


def traced(model: nn.Module) -> Any:
    return torch.jit.trace(model, FRAME)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, traced])
def test_a_torchscript_model_runs_eagerly(make: Any, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = make(Sum().eval())
    segmenter, plain = made(model), made(model)
    on_gpu(segmenter, cuda, monkeypatch)
    segmenter.warm_up()
    assert not cuda.graphs
    given = frame("events", 1)
    assert same(segmenter.segment(*given), plain.segment(*given))


def test_a_graph_that_is_captured_under_autocast_has_the_bits_of_the_model(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    captured = on_device(segmenter, cuda)
    with torch.autocast("cpu", torch.bfloat16):
        captured.capture()
    given = frame("events", 1)
    assert same(on_graph(segmenter, *given), made(nano).segment(*given))


class Copying(nn.Module):
    """A network of a user's own that makes a tensor out of numbers: on a GPU a copy, which ends a capture."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(13, 5, 1)

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        return self.last(torch.cat((image, second), 1)) * torch.tensor([2.0], device=image.device)


def test_copies_from_and_to_the_device_are_refused_before_a_capture(cuda: FakeCuda) -> None:
    """A capture that fails leaves torch's allocator and generator as if it were still under way."""
    said: list[str] = []
    segmenter = made(Copying(), said=said)
    segmenter._capture(on_device(segmenter, cuda))
    assert "cannot be captured in a CUDA graph: it copies between the CPU and the GPU" in said[0]
    assert not cuda.graphs


def test_copies_between_devices_are_refused() -> None:
    here, there = torch.zeros(3), torch.empty(3, device="meta")
    for copy_over in (lambda: here.to("meta"), lambda: there.copy_(here)):
        with pytest.raises(ValueError, match="it copies between the CPU and the GPU"), _NoCopy():
            copy_over()
    with _NoCopy():
        there.copy_(there.half().float())


def test_a_driver_that_captures_nothing_leaves_the_eager_way(nano: nn.Module, cuda: FakeCuda) -> None:
    said: list[str] = []
    segmenter = made(nano, said=said)
    segmenter._capture(on_device(segmenter, FakeCuda(fails=True)))
    assert "CUDA error: operation not permitted when stream is capturing; its masks" in said[0]
    given = frame("events", 1)
    assert same(on_graph(segmenter, *given), made(nano).segment(*given))


def test_threads_and_cameras_share_the_graphs(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    on_device(segmenter, cuda).capture()
    other = segmenter.for_camera(None)
    assert other._captured is segmenter._captured
    frames = [frame("events", seed) for seed in range(4)]
    wanted = [made(nano).segment(*given) for given in frames]
    wrong: list[int] = []

    def run(each: Segmenter, numbers: tuple[int, ...]) -> None:
        wrong.extend(n for n in numbers * 5 if not same(on_graph(each, *frames[n]), wanted[n]))

    threads = [threading.Thread(target=run, args=given) for given in ((segmenter, (0, 1)), (other, (2, 3)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_copies_have_no_graphs(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    on_device(segmenter, cuda).capture()
    assert copy.deepcopy(segmenter)._captured is None
    segmenter._warn = print
    assert pickle.loads(pickle.dumps(segmenter))._captured is None


def test_wrong_inputs_are_refused_and_the_next_frame_is_right(nano: nn.Module, cuda: FakeCuda) -> None:
    segmenter = made(nano)
    on_device(segmenter, cuda).capture()
    with pytest.raises(ValueError, match="both"):
        on_graph(segmenter, None, None)
    with pytest.raises(ValueError, match="expects events"):
        on_graph(segmenter, None, np.zeros(SIZE, np.uint8))
    given = frame("events", 1)
    assert same(on_graph(segmenter, *given), made(nano).segment(*given))
