"""How many variants of the Triton kernels a network compiles: few at its first frame, none after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_graphs import FakeCuda

from mambaseg_core import extension
from mambaseg_core.checkpoint import create_model
from mambaseg_core.events import Events
from mambaseg_core.graphs import CapturedModel
from mambaseg_core.models.presets import PRESETS
from mambaseg_core.ops import probe, scan, selection
from mambaseg_core.precision import choose_precision, lowered
from mambaseg_core.preprocessing import Preprocessing

triton = pytest.importorskip("triton", reason="triton is not installed (pip install triton)")
if extension.INTERPRETED:
    pytest.skip("TRITON_INTERPRET=1 is set: nothing is compiled", allow_module_level=True)
if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 6):
    pytest.skip(f"Triton is {triton.__version__}; expected 3.6: its hooks are others", allow_module_level=True)

from variants import asked_for, calls, launch  # noqa: E402

from mambaseg_core.ops import triton_scan, triton_voxel  # noqa: E402

SIZE = (440, 640)
# chunk_ends and outputs for each of two state sizes, and chain
MOST = dict.fromkeys(("mambaseg_dsec", "mambaseg_compact", "mambaseg_nano", "sigma_tiny", "rsgmamba_nano"), 5)


@pytest.fixture
def variants() -> Iterator[set[tuple[str, str]]]:
    with asked_for() as found:
        yield found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", MOST)
def test_a_frame_without_a_second_input_and_other_heights_compile_nothing_more(
    name: str, dtype: torch.dtype, variants: set[tuple[str, str]]
) -> None:
    for call in calls(name, SIZE):
        launch(call, dtype)
    first = set(variants)
    halves = dtype != torch.float32 and name == "sigma_tiny"  # its scans in order, of state size 4, are in float32
    assert 0 < len(first) <= MOST[name] + 2 * halves
    for call in calls(name, SIZE, second=False) | calls(name, (480, 640)):
        launch(call, dtype)
    assert variants == first


def test_the_proof_of_the_back_end_compiles_what_the_networks_need(variants: set[tuple[str, str]]) -> None:
    triton_scan.ss2d(*probe._scan_inputs())
    tried = set(variants)
    variants.clear()
    for call in calls("mambaseg_nano", SIZE):
        launch(call)
    assert tried
    assert tried <= variants


def test_a_voxel_grid_has_one_variant_for_any_number_of_events_and_any_size(variants: set[tuple[str, str]]) -> None:
    for events in (10_000, 0, 1, 15, 16, 17):
        for size in ((10, 480, 640), (10, 440, 637), (10, 7, 1), (9, 16, 16)):
            triton_voxel.scatter_(torch.empty(size), torch.zeros(events, dtype=torch.int64))
    assert {name for name, _ in variants} == {"scatter"}
    assert len(variants) == 1


def test_gradients_have_one_variant_for_all_walks_and_state_sizes(variants: set[tuple[str, str]]) -> None:
    for state in (1, 4, 16):
        x, proj, weight, bias, _, D = probe._scan_inputs()
        proj, A = torch.zeros(*proj.shape[:-1], weight.shape[2] + 2 * state), -torch.ones(D.shape[0], state)
        triton_scan.ss2d_backward(torch.ones_like(x), x, proj, weight, bias, A, D)
        u, rows = torch.zeros(1, 8, 9), torch.zeros(1, 2, state, 9)
        triton_scan.selective_scan_backward(u, u, u, -torch.ones(8, state), rows, rows, None, None, True)
    names = [name for name, _ in variants]
    assert sorted(names) == ["adjoint_starts", "chain", *["chunk_ends"] * 3, "gradients"]


@pytest.fixture
def on_triton(monkeypatch: pytest.MonkeyPatch, variants: set[tuple[str, str]]) -> Iterator[set[tuple[str, str]]]:
    """Let a model on the CPU launch the Triton kernels, which here leave NaN in all results."""
    monkeypatch.setattr(scan, "choose", lambda *_: "triton")
    monkeypatch.setattr(scan, "operators", lambda _: triton_scan)
    monkeypatch.setattr(selection, "choose", lambda *_: "triton")
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    torch.use_deterministic_algorithms(True)
    yield variants
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_is_compiled_after_warm_up_whatever_comes(precision: str, on_triton: set[tuple[str, str]]) -> None:
    rng = np.random.default_rng(0)

    def frame(captured: CapturedModel, setup: Preprocessing, events: int | None, grown: int = 1) -> None:
        height, width = (grown * side for side in setup.size)
        pixels = rng.integers(0, 256, (*setup.size, setup.channels), np.uint8)
        if events is None:
            captured(pixels, None)
            return
        x, y, p = (rng.integers(0, below, events) for below in (width, height, 2))
        raw = Events.from_arrays(x, y, np.arange(events), p, height=height, width=width)
        packed = setup.packed_events(raw, None, None)
        captured(pixels, packed)
        captured(None, packed)

    def capture(size: tuple[int, int]) -> tuple[CapturedModel, Preprocessing]:
        setup = replace(PRESETS["mambaseg_nano"].preprocessing, size=size, view_size=size, crop_bottom=0)
        device = torch.device("cpu")
        dtype = choose_precision(precision, device)
        model = lowered(create_model("mambaseg_nano", image_size=size).eval(), dtype, device)
        captured = CapturedModel(model, dtype, device, setup, precision, FakeCuda())
        frame(captured, setup, 10_000)
        captured.capture()
        return captured, setup

    captured, setup = capture((24, 32))
    first = set(on_triton)
    assert {name for name, _ in first} == {"chunk_ends", "chain", "outputs", "scatter"}
    for events in (None, 0, 1, 15, 16, 17, 1000, 150_000):
        frame(captured, setup, events)
    frame(captured, setup, 100, grown=2)  # a larger sensor
    frame(*capture((40, 56)), events=3)
    assert on_triton == first
