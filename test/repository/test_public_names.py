"""The names that other projects call: `__all__`, docs/python.md and reality agree."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import mambaseg_core as mc

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()


def test_all_names_the_page_and_the_package_have_the_same_names() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(mc.__all__) == sorted(set(mc.__all__))
    assert set(mc.__all__) <= set(dir(mc))
    public = {name for name, value in vars(mc).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - {"TYPE_CHECKING", "Any", "Final", "annotations", "import_module"} <= set(mc.__all__)


def test_each_name_is_there_and_explained() -> None:
    for name in mc.__all__:
        value = getattr(mc, name)
        assert inspect.getdoc(value), name
        assert value.__name__.rpartition(".")[2] == name


def test_what_a_robot_does_not_need_is_imported_on_request() -> None:
    code = "import sys, mambaseg_core as mc\nprint(*sys.modules)\nmc.DsecDataset, mc.open_events\nprint(*sys.modules)"
    before, after = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.splitlines()
    assert not {"mambaseg_core.data", "mambaseg_core.recordings", "h5py"} & set(before.split())
    assert {"mambaseg_core.data", "mambaseg_core.recordings"} <= set(after.split())


def test_an_unknown_name_is_refused() -> None:
    assert not hasattr(mc, "Dataset")


def test_the_pages_example_runs() -> None:
    rng = np.random.default_rng(0)
    columns = {"x": rng.integers(0, 640, 5000), "y": rng.integers(0, 480, 5000), "p": rng.integers(0, 2, 5000)}
    events = mc.Events.from_arrays(**columns, t_ns=np.sort(rng.integers(0, 50_000_000, 5000)), height=480, width=640)
    names = {"calibration": None, "events": events, "stamp_ns": 50_000_001, "image": np.zeros((480, 640, 3), np.uint8)}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/python.md", "exec"), names)
    assert names["ids"].shape == (480, 640)
    assert len(names["window"]) == 5000


def test_their_arguments_are_those_promised() -> None:
    def arguments(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert {"mambaseg_ddd17", "mambaseg_dsec"} <= set(mc.list_models())
    assert "reference" in mc.ops.backends()
    assert arguments(mc.create_model)[:5] == ["name", "num_classes", "image_size", "in_channels", "weights"]
    assert arguments(mc.voxel_grid) == ["events", "bins", "mode", "edges_ns", "out"]
    scan = ["u", "delta", "A", "B", "C", "D", "delta_bias", "delta_softplus", "backend"]
    assert arguments(mc.ops.selective_scan) == scan
    assert arguments(mc.Events.from_arrays) == ["x", "y", "t_ns", "p", "height", "width"]
    assert arguments(mc.decode) == ["encoding", "data", "height", "width", "time_base_ns"]
    assert arguments(mc.Segmenter)[:2] == ["model_or_checkpoint", "device"]
