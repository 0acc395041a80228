"""docs/engines.md: its program and its numbers, as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import mambaseg_core as mc
from mambaseg_core.models.presets import preprocessing_of
from mambaseg_core.ops.area_resize import area_resize
from mambaseg_core.pictures import read_image, read_label, write_png
from mambaseg_core.synth.dsec_drive import SequenceSummary
from mambaseg_core.weights import FOLDER

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
SHIPPED = FOLDER / "mambaseg_nano_synthetic.safetensors"


@pytest.mark.usefixtures("engines")
def test_the_program_of_the_page_gives_the_mask_of_the_package(
    tmp_path: Path, summary: SequenceSummary, monkeypatch: pytest.MonkeyPatch, mambaseg: Callable[..., Any]
) -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.partition("## From a checkpoint")[2], re.DOTALL)[:2]
    assert [kind for kind, _ in blocks] == ["bash", "python"]
    (command,) = (line for line in blocks[0][1].splitlines() if line.startswith("mambaseg "))
    lines = [line for line in blocks[1][1].splitlines() if line.strip()]
    assert len(lines) <= 16
    image, events = frame(summary)
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "runs/nano/best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.symlink_to(SHIPPED)
    write_png(tmp_path / "image.png", image)
    np.savez("events.npz", x=events.x, y=events.y, t=events.t_ns, p=events.p)

    result = mambaseg(*command.split()[1:], "--frames", 2)
    assert result.returncode == 0, result.stdout
    assert re.search(r"onnxruntime: 100\.0000 % of 153600 pixels have torch's class \(0 differ\)", result.stdout)
    nodes = re.search(r"nano\.onnx: mambaseg_nano, (\d+) nodes", result.stdout)
    assert nodes is not None
    assert int(nodes[1]) <= 5000
    names: dict[str, Any] = {}
    exec(compile(blocks[1][1], "docs/engines.md", "exec"), names)
    mask = mc.Segmenter(weights, "cpu").segment(image, events)
    assert np.unique(mask.ids).size > 3
    assert (names["ids"][0] == mask.ids).all()
    assert np.abs(names["confidence"][0] - mask.confidence).max() < 1e-5
    assert "mambaseg" not in blocks[1][1]
    assert (read_label(tmp_path / "mask.png") == mask.ids).all()
    assert (mc.Segmenter(tmp_path / "nano.onnx", "cpu").segment(image, events).ids == mask.ids).all()


def frame(summary: SequenceSummary) -> tuple[Any, mc.Events]:
    """Return an image and the events of 50 ms before it, both enlarged to 480x640 and taken for one view."""
    with mc.open_events(summary.path) as reader:
        events = reader.between(reader.start_ns, reader.start_ns + 50_000_000).events
    image = cv2.resize(read_image(summary.path / "images/left/rectified/000000.png"), (640, 480))
    x, y = (4 * column.astype(int) + np.arange(len(events)) % 4 for column in (events.x, events.y))
    return image, mc.Events.from_arrays(x, y, events.t_ns, events.p, height=480, width=640)


def table(first: str) -> list[list[float]]:
    """Return the rows of the table whose head begins so."""
    rows = PAGE.partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[float(cell) for cell in row.strip("| ").split("|")] for row in rows]


def cells(first: str, shape: tuple[int, int, int]) -> Any:
    """Return the grid of a table of cells."""
    grid = np.zeros(shape, np.float32)
    for number, row, column, value in table(first):
        grid[int(number), int(row), int(column)] = value
    return grid


def test_the_numbers_of_the_page_are_those_of_the_package() -> None:
    x, y, t_ns, p = (np.array(column, int) for column in zip(*table("x"), strict=True))
    assert len(x) == 4
    events = mc.Events.from_arrays(x, y, t_ns, p, height=4, width=6)
    grid = mc.voxel_grid(events, 3)
    expected = cells("grid of 4x6: bin", (3, 4, 6))
    assert np.count_nonzero(expected) == 4
    assert np.allclose(grid.numpy(), expected, atol=1e-7)
    resized = cells("grid resized to 2x4: bin", (3, 2, 4))
    assert np.count_nonzero(resized) == 6
    assert np.allclose(area_resize(grid, (2, 4)).numpy(), resized, atol=1e-7)
    model = mc.create_model("mambaseg_nano")
    setup = replace(preprocessing_of(model), bins=3, size=(2, 4), view_size=(4, 6), crop_bottom=0)
    assert np.allclose(setup.voxel_input(events, None, None).numpy(), resized, atol=1e-7)


def test_the_page_has_every_key_of_a_description_and_every_option() -> None:
    from mambaseg_core.export.agreement import LARGEST_DIFFERENCE, LEAST_SAME
    from mambaseg_core.export.network import ENGINES, INPUTS, OUTPUTS

    for word in (*INPUTS, *OUTPUTS, *ENGINES):
        assert f"`{word}`" in PAGE or f" {word}`" in PAGE, word
    bounds = [100 * LEAST_SAME[name] for name in ("float32", "float16")]
    bounds += [LARGEST_DIFFERENCE[name] for name in ("float32", "float16")]
    said = re.search(
        r"Below ([\d.]+) % of equal pixels \(`--half`: ([\d.]+) %\), .* more than ([\d.]+) \(([\d.]+)\)", PAGE
    )
    assert said is not None
    assert [float(number) for number in said.groups()] == pytest.approx(bounds)
