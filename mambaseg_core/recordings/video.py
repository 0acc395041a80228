"""Films of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mambaseg_core.pictures import EVENT_LEGEND, event_picture, new_film, with_legend
from mambaseg_core.recordings.reader import EventReader

Progress = Callable[[int, int], None]

MOST_FRAMES: Final = 1_000_000


@dataclass(frozen=True)
class VideoTiming:
    """Which events a film shows when.

    Attributes:
        fps: pictures a second of the film.
        window_ns: each picture shows the events of so long before its time.
        slowdown: seconds of the film for one second of the recording.
        start_ns: the film begins so long after the first event.
        length_ns: and shows so much of the recording; None: all.
    """

    fps: float = 25.0
    window_ns: int = 40_000_000
    slowdown: float = 1.0
    start_ns: int = 0
    length_ns: int | None = None

    def __post_init__(self) -> None:
        for name in ("fps", "window_ns", "slowdown", "length_ns"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a finite number above 0; give another")
        if self.start_ns < 0:
            raise ValueError(f"start_ns is {self.start_ns}, expected 0 or more; the film begins at the first event")

    def frame_ends_ns(self, reader: EventReader) -> list[int]:
        """The end of each picture's window.

        Raises:
            ValueError: the recording has no events there, or so long a span that it must be damaged.
        """
        start_ns = reader.start_ns + self.start_ns
        span_ns = reader.end_ns - start_ns if self.length_ns is None else min(self.length_ns, reader.end_ns - start_ns)
        if not len(reader) or span_ns <= 0:
            raise ValueError(
                f"{reader.path} has {len(reader)} events in {(reader.end_ns - reader.start_ns) / 1e9:g} s, expected "
                f"some after {self.start_ns / 1e9:g} s; choose an earlier start or another file"
            )
        step_ns = 1e9 / self.fps / self.slowdown
        frames = max(1, round(span_ns / step_ns))
        if frames > MOST_FRAMES:
            raise ValueError(
                f"a film of {span_ns / 1e9:g} s of {reader.path} has {frames} pictures, expected {MOST_FRAMES} at "
                f"most; show a part of it, or check the recording's clock"
            )
        return [start_ns + round((index + 1) * step_ns) for index in range(frames)]


def write_video(
    reader: EventReader, out: str | Path, timing: VideoTiming, progress: Progress = lambda done, total: None
) -> int:
    """Write a film of a recording's events: each pixel has the colour of its newest one.

    Args:
        reader: the recording.
        out: as of `new_film`.
        timing: see `VideoTiming`.
        progress: called with pictures written and pictures in all.

    Returns:
        Number of pictures.

    Raises:
        ValueError: another ending of the name, nothing to show, or a damaged recording.
        OSError: the film cannot be written.
    """
    with new_film(Path(out), timing.fps) as film:
        ends_ns = timing.frame_ends_ns(reader)
        for index, end_ns in enumerate(ends_ns):
            events = reader.between(end_ns - timing.window_ns, end_ns).events
            film.write(with_legend(event_picture(events.polarity_map()), EVENT_LEGEND))
            progress(index + 1, len(ends_ns))
    return len(ends_ns)
