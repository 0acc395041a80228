"""The layouts for RViz and Foxglove show topics that exist."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[2] / "config"
IMAGES = {"/image", "/mambaseg/color_mask", "/mambaseg/overlay"}


def test_rviz_shows_camera_colours_and_overlay() -> None:
    layout = yaml.safe_load((CONFIG / "mambaseg.rviz").read_text())
    displays = layout["Visualization Manager"]["Displays"]
    assert {display["Topic"]["Value"] for display in displays} == IMAGES
    camera = next(display for display in displays if display["Topic"]["Value"] == "/image")
    assert camera["Topic"]["Reliability Policy"] == "Best Effort"  # the QoS of camera drivers


def test_foxglove_shows_the_same_and_every_panel_is_in_its_layout() -> None:
    layout = json.loads((CONFIG / "foxglove.json").read_text())
    panels = layout["configById"]
    assert {panel["imageMode"]["imageTopic"] for panel in panels.values() if "imageMode" in panel} == IMAGES
    placed = [word for word in json.dumps(layout["layout"]).split('"') if "!" in word]
    assert sorted(placed) == sorted(panels)
    fields = {line.split()[1] for line in _status_lines()}
    paths = [path["value"] for panel in panels.values() for path in panel.get("paths", [])]
    assert len(paths) == 3
    assert {path.removeprefix("/mambaseg/status.") for path in paths} <= fields


def _status_lines() -> list[str]:
    text = (CONFIG.parent / "msg" / "SegmentationStatus.msg").read_text()
    return [line for line in text.splitlines() if len(line.split()) > 1 and not line.startswith("#")]
