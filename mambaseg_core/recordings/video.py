"""Videos of events."""

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
    """Timing of a video: which events each frame shows.

    Attributes:
        fps: frames per second of the video.
        window_ns: each frame shows the events of this time before it, nanoseconds.
        slowdown: seconds of video per second of the recording.
        start_ns: start of the video after the first event, nanoseconds.
        length_ns: length of the recording to show, nanoseconds; None: all.
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
                raise ValueError(f"{name} is {value}, expected a finite number above 0; change it")
        if self.start_ns < 0:
            raise ValueError(f"start_ns is {self.start_ns}, expected 0 or more; 0 is the time of the first event")

    def frame_ends_ns(self, reader: EventReader) -> list[int]:
        """Return the end of each frame's window, nanoseconds.

        Raises:
            ValueError: the recording has no events there, or its span is so long that it must be damaged.
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
                f"a video of {span_ns / 1e9:g} s of {reader.path} has {frames} frames, expected {MOST_FRAMES} at "
                f"most; show a part of it, or check the recording's clock"
            )
        return [start_ns + round((index + 1) * step_ns) for index in range(frames)]


def write_video(
    reader: EventReader, out: str | Path, timing: VideoTiming, progress: Progress = lambda done, total: None
) -> int:
    """Write a video of a recording's events; each pixel has the color of its newest event.

    Args:
        reader: the recording.
        out: `.mp4` or `.avi`; see `new_film`.
        timing: see `VideoTiming`.
        progress: called with the number of frames written and of all frames.

    Returns:
        Number of frames.

    Raises:
        ValueError: the name has another suffix, there are no events to show, or the recording is damaged.
        OSError: the video cannot be written.
    """
    with new_film(Path(out), timing.fps) as film:
        ends_ns = timing.frame_ends_ns(reader)
        for index, end_ns in enumerate(ends_ns):
            events = reader.between(end_ns - timing.window_ns, end_ns).events
            film.write(with_legend(event_picture(events.polarity_map()), EVENT_LEGEND))
            progress(index + 1, len(ends_ns))
    return len(ends_ns)
