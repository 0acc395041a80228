"""The choice of a back end: each is proven on its device before it is chosen, and what is refused is said."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mambaseg_core.ops import probe, reference, selection
from mambaseg_core.ops.voxel_packed import scatter_reference_

CPU, ABSENT = torch.device("cpu"), torch.device("cuda", 63)  # a number that no machine has


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """Have Triton count as imported, as on a GPU; return what stands in for the tiny launches."""
    monkeypatch.delenv("MAMBASEG_BACKEND", raising=False)
    monkeypatch.setattr(selection, "_FAULTS", {})
    monkeypatch.setattr(selection, "_BEST", {})
    monkeypatch.setattr(selection, "_triton", lambda: "")
    monkeypatch.setattr(selection, "_mamba_ssm", lambda: "mamba_ssm cannot be imported: ModuleNotFoundError")
    with mock.patch.object(selection, "_tried", return_value="") as tried:
        yield tried


def wrong(*inputs: Tensor) -> Tensor:
    y = reference.ss2d_projected(*inputs)
    y[0, -1, -1] *= 2
    return y


def lost(*inputs: Tensor) -> Tensor:
    return torch.full_like(inputs[0], torch.nan)


def without_compiler(*inputs: Tensor) -> Tensor:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")


def cut(*inputs: Tensor) -> Tensor:
    return inputs[0][:, 1:]


def test_a_back_end_that_gives_the_references_numbers_has_no_fault() -> None:
    assert probe.scan_fault(reference.ss2d_projected, CPU) == ""
    assert probe.scan_fault(torch.ops.mambaseg.ss2d, CPU) == ""
    assert probe.scatter_fault(scatter_reference_, CPU) == ""
    assert probe.device_fault(CPU) == ""


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (wrong, "a tiny scan differs from the reference by "),
        (lost, "a tiny scan differs from the reference by nan of its largest value"),
        (without_compiler, "a tiny scan fails with RuntimeError: Failed to find C compiler"),
        (cut, "a tiny scan fails with RuntimeError"),
    ],
)
def test_a_back_end_that_raises_or_gives_wrong_numbers_is_refused(scan: Callable[..., Tensor], words: str) -> None:
    fault = probe.scan_fault(scan, CPU)
    assert fault.startswith(words)
    assert "\n" not in fault


def test_a_voxel_grid_with_an_event_too_few_is_refused() -> None:
    def scatter(grid: Tensor, packed: Tensor) -> None:
        scatter_reference_(grid, packed[:-1])

    assert probe.scatter_fault(scatter, CPU).startswith("a tiny voxel grid differs from the reference by ")
    assert probe.scatter_fault(lambda grid, packed: None, CPU)


def test_a_device_that_torch_cannot_use_is_refused_in_one_line() -> None:
    assert "\n" not in probe.device_fault(ABSENT)
    assert probe.device_fault(ABSENT)
    assert probe.scan_fault(reference.ss2d_projected, ABSENT).startswith("a tiny scan fails with ")


def test_neither_counters_nor_gradients_nor_inference_mode_touch_the_proof() -> None:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert probe.scan_fault(torch.ops.mambaseg.ss2d, CPU) == ""
    assert counter.get_total_flops() == 0


def test_a_default_device_of_the_caller_does_not_move_the_proof() -> None:
    with torch.device("meta"):
        assert probe.scan_fault(torch.ops.mambaseg.ss2d, CPU) == ""
        assert probe.scatter_fault(scatter_reference_, CPU) == ""


def test_the_proof_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    probe.scan_fault(reference.ss2d_projected, CPU)
    assert torch.equal(torch.rand(1), wanted)


def test_a_back_end_is_tried_once_per_device(card: mock.Mock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=selection.__name__):
        assert [selection.choose(f"cuda:{n}", None) for n in (0, 1, 0, 1)] == ["triton"] * 4
    assert caplog.text.count("back end triton (never measured on a GPU)") == 2
    assert selection.has_kernels("cuda:1")
    assert selection.backends()[-2:] == ("triton", "reference")
    with pytest.raises(ValueError, match="'triton' takes tensors on CUDA, these are on cpu"):
        selection.choose("cpu", "triton")
    assert card.mock_calls == [mock.call("triton", torch.device("cuda", n)) for n in (0, 1)]


def test_cuda_without_a_number_is_the_current_device(card: mock.Mock) -> None:
    if torch.cuda.device_count() > 1:
        pytest.skip("which device is current is not known")
    assert selection.choose("cuda", None) == selection.choose("cuda:0", None) == "triton"
    assert card.call_count == 1


def test_the_next_best_runs_and_the_log_says_why(
    card: mock.Mock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card.return_value = "a tiny scan fails with RuntimeError: Failed to find C compiler"
    monkeypatch.setattr(probe, "device_fault", lambda device: "")
    with caplog.at_level(logging.WARNING, logger=selection.__name__):
        assert [selection.choose("cuda:0", None) for _ in range(3)] == ["reference"] * 3
    assert caplog.text.count("back end reference (triton: a tiny scan fails with RuntimeError: Failed to find C") == 1
    assert selection.explain("cuda:0").reason.startswith("triton: a tiny scan fails")
    with pytest.raises(ValueError, match="backend='triton' does not work here: a tiny scan fails with RuntimeError"):
        selection.choose("cuda:0", "triton")
    monkeypatch.setenv("MAMBASEG_BACKEND", "triton")
    with pytest.raises(ValueError, match="MAMBASEG_BACKEND='triton' does not work here: a tiny scan fails"):
        selection.choose("cuda:0", None)
    assert not selection.has_kernels("cuda:0")
    assert "triton" not in selection.backends()


def test_mamba_ssm_comes_before_the_reference(card: mock.Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    card.side_effect = lambda backend, device: "wrong numbers" if backend == "triton" else ""
    monkeypatch.setattr(selection, "_mamba_ssm", lambda: "")
    assert selection.explain("cuda:0") == ("mamba_ssm", "triton: wrong numbers")


def test_a_broken_device_is_one_sentence(card: mock.Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here torch itself fails on the device, whatever torch was built for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card.side_effect = lambda backend, device: probe.scan_fault(reference.ss2d_projected, device)
    with pytest.raises(
        selection.DeviceError, match=r"^device is 'cuda:63', on which torch .* cannot compute \(\w+: .*"
    ):
        selection.choose(ABSENT, None)


def test_nothing_is_launched_for_fake_tensors(card: mock.Mock) -> None:
    with FakeTensorMode():
        assert selection.choose("cuda:0", None) == "triton"
        assert selection.has_kernels("cuda:0")
    assert card.call_count == 0
    card.return_value = "wrong numbers"
    with mock.patch.object(probe, "device_fault", return_value=""):
        assert selection.choose("cuda:0", None) == "reference"  # proven as soon as there is something real
    with FakeTensorMode():
        assert selection.choose("cuda:0", None) == "reference"


def test_nothing_is_launched_while_torch_compiles(card: mock.Mock) -> None:
    def double(x: Tensor) -> Tensor:
        return x * len(selection.choose(torch.device("cuda", 0), None))

    assert torch.compile(double, fullgraph=True, backend="eager")(torch.ones(2)).tolist() == [6, 6]
    assert card.call_count == 0


@pytest.mark.parametrize("error", [ImportError("no"), AttributeError("module 'triton' has no attribute 'knobs'")])
def test_whatever_the_import_of_triton_raises_is_the_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "mambaseg_core.ops.triton_scan":
                raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delitem(sys.modules, "mambaseg_core.ops.triton_scan", raising=False)
    monkeypatch.delattr("mambaseg_core.ops.triton_scan", raising=False)
    monkeypatch.setattr("sys.meta_path", [Broken()])
    why = selection._triton.__wrapped__()
    assert why == f"triton cannot be imported: {type(error).__name__}: {error}"
