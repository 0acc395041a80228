"""The operators in torch: opcheck, compile, export, flops; and the choice of a back end."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mambaseg_core import ops
from mambaseg_core.ops import selection

TESTED = Path(ops.__file__).parents[2]  # the source tree, or what is installed
DIRECT = {
    "selective_scan": [(2, 6, 9), (2, 6, 9), (6, 3), (2, 2, 3, 9), (2, 2, 3, 9), (6,), (6,)],
    "ss2d": [(2, 3, 5, 6), (2, 3, 5, 4, 8), (4, 6, 2), (4, 6), (24, 3), (24,)],
    "bidirectional_scan": [(2, 6, 9), (2, 2, 8, 9), (2, 6, 2), (2, 6), (12, 3), (12,)],
}


def direct_inputs(name: str) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=g) for shape in DIRECT[name]]
    rates = {"selective_scan": 2, "ss2d": 4, "bidirectional_scan": 4}[name]
    inputs[rates] = -inputs[rates].exp()
    return inputs


@pytest.mark.parametrize("name", DIRECT)
def test_opcheck(name: str) -> None:
    inputs = [v.requires_grad_() for v in direct_inputs(name)]
    extra = (True,) if name == "selective_scan" else ()
    torch.library.opcheck(getattr(torch.ops.mambaseg, name).default, (*inputs, *extra))
    if name == "selective_scan":
        torch.library.opcheck(torch.ops.mambaseg.selective_scan.default, (*inputs[:5], None, None, False))


@pytest.mark.parametrize("name", ["selective_scan", "ss2d"])
def test_opcheck_of_the_backward_kernels(name: str) -> None:
    if "cpu" not in ops.backends():
        pytest.skip("the extension is not built here")
    inputs = direct_inputs(name)
    extra = (True,) if name == "selective_scan" else ()
    op = getattr(torch.ops.mambaseg, f"{name}_backward").default
    utils = ("test_schema", "test_faketensor")
    torch.library.opcheck(op, (torch.randn_like(inputs[0]), *inputs, *extra), test_utils=utils)


class Scans(nn.Module):
    """A map through ss2d, then its rows as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        for name, directions in (("map", 4), ("row", 2)):
            for part, shape in (("a", (8, 6)), ("b", (6, 2)), ("c", (6,))):
                value = torch.randn(directions, *shape, generator=g) / 3
                self.register_parameter(f"{name}_{part}", nn.Parameter(value))
            self.register_parameter(f"{name}_rate", nn.Parameter(-torch.rand(directions * 6, 3, generator=g)))
            self.register_parameter(f"{name}_skip", nn.Parameter(torch.ones(directions * 6)))

    def forward(self, x: Tensor) -> Tensor:
        y = ops.ss2d(x, self.map_a, self.map_b, self.map_c, self.map_rate, self.map_skip)
        rows = y.flatten(1, 2).mT
        return ops.bidirectional_scan(rows, self.row_a, self.row_b, self.row_c, self.row_rate, self.row_skip)


@pytest.mark.slow
def test_compile_in_one_graph_with_gradients() -> None:
    model, x = Scans(), torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    y, wanted = compiled(x), model(x)
    torch.testing.assert_close(y, wanted)
    got = torch.autograd.grad(y.square().sum(), list(model.parameters()))
    expected = torch.autograd.grad(wanted.square().sum(), list(model.parameters()))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_export() -> None:
    model, x = Scans().eval(), torch.randn(1, 4, 5, 6)
    size = torch.export.Dim("height", min=2, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {1: size}})
    other = torch.randn(1, 7, 5, 6)
    torch.testing.assert_close(program.module()(other), model(other))
    if "cpu" in ops.backends():
        assert "mambaseg.ss2d" in str(program.graph)


@pytest.mark.parametrize("name", ["ss2d", "bidirectional_scan"])
def test_flops_are_those_of_the_products_and_the_same_for_all(name: str) -> None:
    """Half of them: C (R + 2N) and R C for each position and direction; the scan itself is not included."""
    model = Scans().to("meta")
    k, x = (4, torch.empty(2, 4, 5, 6)) if name == "ss2d" else (2, torch.empty(2, 6, 20))
    prefix = "map" if k == 4 else "row"
    weights = [getattr(model, f"{prefix}_{part}") for part in ("a", "b", "c", "rate", "skip")]
    counts = []
    for device, backend in (("meta", None), ("meta", "reference"), ("cpu", "reference"), ("cpu", None)):
        given = [torch.zeros(v.shape, device=device) for v in (x, *weights)]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            getattr(ops, name)(*given, backend=backend)
        counts.append(counter.get_total_flops() // 2)
    assert counts == [2 * 20 * k * (6 * 8 + 2 * 6)] * 4
    assert ops.scan_macs(channels=k * 6, length=20, state=3) == k * 6 * 20 * 11


def test_meta_tensors_have_shapes_only() -> None:
    y = ops.selective_scan(*(torch.empty(s, device="meta") for s in DIRECT["selective_scan"]))
    assert y.shape == (2, 6, 9)
    assert y.is_meta


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TESTED), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


COMPARE = """
import torch
from mambaseg_core import ops
lanes = torch.ops.mambaseg.vector_lanes()
g = torch.Generator().manual_seed(0)
r = lambda *s: torch.randn(*s, generator=g)
scan = (r(2, 38, 131), r(2, 38, 131), -r(38, 5).exp(), r(2, 2, 5, 131), r(2, 2, 5, 131), r(38), r(38), True)
maps = (r(2, 9, 13, 19), r(4, 13, 19), r(4, 19, 3), r(4, 19), -r(76, 5).exp(), r(76))
for f, a in ((ops.selective_scan, scan), (ops.ss2d, maps)):
    a = [v.requires_grad_() if torch.is_tensor(v) else v for v in a]
    leaves = [v for v in a if torch.is_tensor(v)]
    y, w = f(*a, backend="cpu"), f(*a, backend="reference")
    torch.testing.assert_close(y, w, rtol=1e-4, atol=1e-4)
    for p, q in zip(torch.autograd.grad(y.sum(), leaves), torch.autograd.grad(w.sum(), leaves)):
        assert (p - q).abs().max() <= 1e-5 * q.abs().max() + 1e-6
print(lanes)
"""


NEEDS = {"plain": set(), "avx2": {"avx2", "fma"}}
NEEDS["avx512"] = NEEDS["avx2"] | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


@pytest.mark.slow
@pytest.mark.parametrize(("isa", "lanes"), [("plain", 4), ("avx2", 8), ("avx512", 16)])
def test_every_instruction_set(isa: str, lanes: int) -> None:
    if "cpu" not in ops.backends():
        pytest.skip("the extension is not built here")
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if missing := NEEDS[isa].difference(flags):
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    assert int(run_python(COMPARE, MAMBASEG_ISA=isa).stdout) == lanes


WITHOUT = """
import logging, warnings, pathlib, torch
logging.basicConfig(level=logging.INFO)
exists = pathlib.Path.exists
pathlib.Path.exists = lambda p: p.name != "_C.so" and exists(p)
from mambaseg_core import ops
assert ops.backends() == ("reference",)
one = torch.ones(1, 1, 3, requires_grad=True)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(2):
        y = ops.selective_scan(one, one, one[0, :, :1], one[None], one[None])
        args = (one, one, one[0, :, :1], one[None], one[None], None, None, False)
        torch.ops.mambaseg.selective_scan(*args).sum().backward()
print(len(seen), seen[0].message)
try:
    ops.selective_scan(one, one, one[0, :, :1], one[None], one[None], backend="cpu")
except ValueError as error:
    print(error)
"""


def test_without_the_extension_one_warning_says_what_to_do() -> None:
    done = run_python(WITHOUT)
    first, second = done.stdout.splitlines()
    assert first.startswith("1 mambaseg runs its scans in plain PyTorch, ten to twenty times slower")
    assert "_C.so does not exist" in first
    assert "pip install --no-build-isolation ." in first
    assert second.startswith("backend='cpu' does not work here")
    assert done.stderr.count("back end reference") == 1


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_BEST", {})
    with caplog.at_level(logging.INFO, logger="mambaseg_core.ops.selection"):
        for _ in range(3):
            assert selection.choose("meta", None) == "cpu"
    assert caplog.text.count("back end cpu") == 1


def test_devices_without_kernels() -> None:
    assert selection.choose("mps", None) == "reference"
    if "cpu" in ops.backends():
        with pytest.raises(ValueError, match="'cpu' takes tensors on the CPU, these are on mps"):
            selection.choose("mps", "cpu")
