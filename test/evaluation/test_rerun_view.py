"""`mambaseg view`: what is in the file, read back with Rerun's own reader; and what is said without Rerun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data.recorded_sequence import RecordedSequence
from mambaseg_core.evaluation.rerun_view import import_rerun, write_view
from mambaseg_core.events import Events, Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.recordings.images import HeldImages

SIZE = (32, 48)
STAMPS_NS = (40_000_000, 90_000_000, 9_000_000_000)
LOG = {"log_time", "log_tick"}


class SomeEvents:
    """An event each millisecond, up to 200 ms."""

    size = SIZE

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        ms = np.arange(200)
        x, y, p = (ms % 48).astype(np.uint16), (ms % 32).astype(np.uint16), np.where(ms % 2, 1, -1).astype(np.int8)
        return window.cut(Events(x, y, ms * 1_000_000, p, *SIZE), end_ns, bins)


def recording() -> RecordedSequence:
    pictures = [(stamp_ns, np.full(SIZE, 50 * number, np.uint8)) for number, stamp_ns in enumerate(STAMPS_NS)]
    return RecordedSequence(Path("drive.bag"), HeldImages(pictures), SomeEvents())


def rows(path: Path, entity: str, column: str) -> list[tuple[int | None, Any]]:
    """Return (time in ns, value) of each row of an entity of a `.rrd` file; no time for what is static."""
    from rerun.chunk import RrdReader

    found = []
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        if chunk.entity_path == entity and column in batch.schema.names:
            assert not LOG & set(chunk.timeline_names)
            times = [time.value for time in batch.column("recording")] if chunk.timeline_names else [None]
            found += zip(times, batch.column(column).to_pylist(), strict=True)
    return sorted(found, key=lambda row: row[0] or 0)


def test_a_view_has_images_masks_classes_and_status_on_the_clock_of_the_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    segmenter = Segmenter(create_model("mambaseg_nano", image_size=SIZE), "cpu")
    drive = recording()
    write_view(drive, [0, 1, 2], tmp_path / "a.rrd", name="drive", segmenter=segmenter)
    assert [path.name for path in tmp_path.iterdir()] == ["a.rrd"]
    masks = rows(tmp_path / "a.rrd", "/model/mask", "SegmentationImage:buffer")
    assert tuple(stamp_ns for stamp_ns, _ in masks) == STAMPS_NS
    setup = segmenter.preprocessing
    events = drive.window(STAMPS_NS[1], setup.window, setup.bins)
    edges_ns = setup.window.edges_ns(events, STAMPS_NS[1], bins=setup.bins, mode=setup.voxel_mode)
    expected = segmenter.segment(drive.image(1), events, edges_ns)
    np.testing.assert_array_equal(np.array(masks[1][1][0], np.uint8).reshape(SIZE), expected.ids)
    ((_, [context]),) = rows(tmp_path / "a.rrd", "/model", "AnnotationContext:context")
    infos = [entry["class_description"]["info"] for entry in context]
    labels = setup.label_set
    assert [info["label"] for info in infos] == [*labels.classes, "no class"]
    assert [info["color"] >> 8 for info in infos[:-1]] == [r << 16 | g << 8 | b for r, g, b in labels.colors]
    for entity, column in (
        ("/camera/image", "EncodedImage:blob"),
        ("/model/image", "EncodedImage:blob"),
        ("/events/picture", "EncodedImage:blob"),
        ("/status/inference_ms", "Scalars:scalars"),
    ):
        assert tuple(stamp_ns for stamp_ns, _ in rows(tmp_path / "a.rrd", entity, column)) == STAMPS_NS, entity
    counts = [count for _, (count,) in rows(tmp_path / "a.rrd", "/status/events", "Scalars:scalars")]
    assert counts[0] > 0 == counts[2]
    ((stamp_ns, (text,)),) = rows(tmp_path / "a.rrd", "/log", "TextLog:text")
    assert (stamp_ns, text) == (STAMPS_NS[2], "no events in the window before this image")


def test_a_view_without_weights_has_no_masks(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    write_view(recording(), [0, 1], tmp_path / "a.rrd", name="drive")
    assert len(rows(tmp_path / "a.rrd", "/events/picture", "EncodedImage:blob")) == 2
    assert rows(tmp_path / "a.rrd", "/model/mask", "SegmentationImage:buffer") == []


def test_what_is_missing_or_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ValueError, match=r"rerun-sdk cannot be imported .*; run `pip install rerun-sdk`"):
        import_rerun()
    with pytest.raises(ValueError, match=r"a\.mp4 ends in '\.mp4', expected \.rrd"):
        write_view(recording(), [0], tmp_path / "a.mp4", name="drive")
    assert list(tmp_path.iterdir()) == []
