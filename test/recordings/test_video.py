"""Videos and images of events, and the summary of a recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.pictures import OFF_COLOR, ON_COLOR
from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.summary import summarise
from mambaseg_core.recordings.video import VideoTiming, write_video

MS = 1_000_000


def ddd17(folder: Path, t_ms: list[float], x: list[int], y: list[int], p: list[int]) -> Path:
    """Write a recording of these events."""
    np.array([t * MS for t in t_ms], "<i8").tofile(folder / "events.dat.t")
    np.stack([x, y, p], -1).astype("<i2").tofile(folder / "events.dat.xyp")
    return folder


def test_the_newest_event_counts_at_its_pixel() -> None:
    events = Events.from_arrays([0, 1, 1], [0, 2, 2], [5, 6, 7], [1, 1, -1], height=3, width=4)
    assert events.polarity_map().tolist() == [[1, 0, 0, 0], [0] * 4, [0, -1, 0, 0]]


def test_a_film_shows_each_event_in_the_pictures_of_its_window(tmp_path: Path) -> None:
    # a block of ON at 0 ms, of OFF at 99 ms; 10 frames, each the 20 ms before its end
    blocks = [(x, y) for x in range(40, 80) for y in range(40, 80)]
    on, off = [(x, y, 1) for x, y in blocks], [(x + 100, y + 100, 0) for x, y in blocks]
    rows = on + off
    path = ddd17(tmp_path, [0.0] * len(on) + [99.0] * len(off), *(list(c) for c in zip(*rows, strict=True)))
    out = tmp_path / "film.mp4"
    seen: list[tuple[int, int]] = []
    with open_events(path) as reader:
        assert write_video(reader, out, VideoTiming(100, 20 * MS), lambda *steps: seen.append(steps)) == 10
    assert seen == [(k + 1, 10) for k in range(10)]
    film = cv2.VideoCapture(str(out))
    frames = [film.read()[1] for _ in range(10)]
    assert not film.read()[0]
    assert frames[0].shape == (260 + 18, 346, 3)  # with a legend
    for index, frame in enumerate(frames):  # BGR, and lossy
        assert (np.abs(frame[60, 60].astype(int) - ON_COLOR[::-1]) < 40).all() == (index < 2)
        assert (np.abs(frame[160, 160].astype(int) - OFF_COLOR[::-1]) < 40).all() == (index == 9)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["events.dat.t", "events.dat.xyp", "film.mp4"]


@pytest.mark.parametrize(
    ("timing", "frames"),
    [
        (VideoTiming(100), 10),
        (VideoTiming(100, slowdown=3), 30),
        (VideoTiming(100, start_ns=50 * MS), 5),
        (VideoTiming(100, start_ns=50 * MS, length_ns=20 * MS), 2),
        (VideoTiming(1), 1),
    ],
)
def test_how_many_pictures(tmp_path: Path, timing: VideoTiming, frames: int) -> None:
    path = ddd17(tmp_path, [0, 100], [1, 2], [3, 4], [0, 1])
    assert len(timing.frame_ends_ns(open_events(path))) == frames


def test_what_cannot_be_filmed(tmp_path: Path) -> None:
    reader = open_events(ddd17(tmp_path, [0, 10**9], [1, 2], [3, 4], [0, 1]))
    with pytest.raises(ValueError, match=r"ends in '\.gif', expected \.mp4 or \.avi"):
        write_video(reader, tmp_path / "film.gif", VideoTiming())
    with pytest.raises(ValueError, match="25000000 frames, expected 1000000"):
        write_video(reader, tmp_path / "film.mp4", VideoTiming())
    with pytest.raises(ValueError, match=r"expected some after 2e[+]06 s"):
        write_video(reader, tmp_path / "film.mp4", VideoTiming(start_ns=2 * 10**15))
    with pytest.raises(OSError, match="cannot be written"):
        write_video(reader, tmp_path / "nowhere" / "film.mp4", VideoTiming(0.001))
    with pytest.raises(ValueError, match="fps is 0"):
        VideoTiming(fps=0)
    with pytest.raises(ValueError, match="start_ns is -1"):
        VideoTiming(start_ns=-1)
    assert not list(tmp_path.glob("*film*"))


def test_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.summary._CHUNK", 7)
    # 40 events in 40 ms at random places; a pixel with 30 more inside 3 ms
    rng = np.random.default_rng(0)
    t = [*range(40), *np.linspace(12.1, 14.9, 30).round(2)]
    order = np.argsort(t)
    x = np.array([*rng.integers(0, 346, 40), *[17] * 30])[order]
    y = np.array([*rng.integers(0, 260, 40), *[200] * 30])[order]
    p = np.array([*[0] * 40, *[1] * 30])[order]
    summary = summarise(open_events(ddd17(tmp_path, sorted(t), x.tolist(), y.tolist(), p.tolist())))
    assert (summary.events, summary.on, summary.start_ns, summary.end_ns) == (70, 30, 0, 39 * MS + 1)
    assert summary.hot_pixels == [(17, 200, 30)]
    assert summary.peak_rate == 40 / 0.01  # 10 ms to 20 ms
    assert summary.rate == pytest.approx(70 / 0.039, rel=1e-6)


def test_summary_of_nothing(tmp_path: Path) -> None:
    for name in ("events.dat.t", "events.dat.xyp"):
        (tmp_path / name).touch()
    summary = summarise(open_events(tmp_path))
    assert (summary.events, summary.rate, summary.hot_pixels) == (0, 0.0, [])
