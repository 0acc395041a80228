"""How many variants of the Triton kernels a network compiles: few at its first frame, none after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mambaseg_core import extension
from mambaseg_core.ops import probe

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


@pytest.mark.parametrize("name", MOST)
def test_a_frame_without_a_second_input_and_other_heights_compile_nothing_more(
    name: str, variants: set[tuple[str, str]]
) -> None:
    for call in calls(name, SIZE):
        launch(call)
    first = set(variants)
    assert 0 < len(first) <= MOST[name]
    for call in calls(name, SIZE, second=False) | calls(name, (480, 640)):
        launch(call)
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
