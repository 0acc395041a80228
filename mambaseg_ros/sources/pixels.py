"""What the newest events say about the sensor's pixels: hot ones, and the balance of ON and OFF."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mambaseg_core.events import EventBuffer, Window
from mambaseg_core.events.hot_pixels import hot_pixels

NEWEST = Window(count=100_000, max_age_ns=1_000_000_000)  # what is looked at
FEW = 1000  # events; of fewer nothing is said
HOTTEST = 100  # hot pixels whose share is told: a texture that stands still makes thousands, a broken sensor few
HOT_WARNED = 0.2  # share of the events that those give
ONE_SIDED = 0.05  # share of ON or OFF events


class PixelHealth(NamedTuple):
    """Hot pixels and polarity of some events.

    Attributes:
        events: how many.
        seconds: from the first to the last.
        hot: column, row and events of each hot pixel, most events first.
        on: ON events.
    """

    events: int
    seconds: float
    hot: list[tuple[int, int, int]]
    on: int

    @property
    def hot_share(self) -> float:
        """Share of the events that the hottest pixels give."""
        return sum(count for _, _, count in self.hot[:HOTTEST]) / self.events

    @property
    def on_share(self) -> float:
        """Share of ON events."""
        return self.on / self.events

    def values(self) -> dict[str, str]:
        """Return what /diagnostics shows."""
        if not self.events:
            return {}
        shown = {"ON events [%]": f"{100 * self.on_share:.1f}", "hot pixels": str(len(self.hot))}
        if self.hot:
            shown["hot pixels [% of events]"] = f"{100 * self.hot_share:.1f}"
            shown["hottest pixel"] = self._hottest()
        return shown

    def sentence(self) -> str:
        """Return a sentence if something is wrong, else an empty string."""
        if self.events < FEW:
            return ""
        if self.hot_share > HOT_WARNED:
            number = min(len(self.hot), HOTTEST)
            pixels = "1 hot pixel" if number == 1 else f"{number} hot pixels"
            return (
                f"{self.hot_share:.0%} of the newest {self.events} events are of {pixels}, the "
                f"hottest {self._hottest()}; expected at most {HOT_WARNED:.0%}: mask them in the driver, or set "
                "hot_pixel_filter"
            )
        if not ONE_SIDED <= self.on_share <= 1 - ONE_SIDED:
            return (
                f"{self.on_share:.0%} of the newest {self.events} events are ON; expected {ONE_SIDED:.0%} to "
                f"{1 - ONE_SIDED:.0%}: check the driver's biases, and how it writes polarity"
            )
        return ""

    def _hottest(self) -> str:
        column, row, count = self.hot[0]
        return f"x {column}, y {row}: {count / max(self.seconds, 1e-3):.0f} events/s"


def pixel_health(buffer: EventBuffer | None) -> PixelHealth:
    """Look at the newest events of a buffer: at most 100,000, of the last second."""
    newest_ns = None if buffer is None else buffer.newest_ns
    if buffer is None or newest_ns is None:
        return PixelHealth(0, 0.0, [], 0)
    events = buffer.window(newest_ns + 1, NEWEST)
    pixel = events.y * np.intp(buffer.width) + events.x
    counts = np.bincount(pixel, minlength=buffer.height * buffer.width).reshape(buffer.height, buffer.width)
    seconds = float(events.t_ns[-1] - events.t_ns[0]) / 1e9 if len(events) else 0.0
    return PixelHealth(len(events), seconds, hot_pixels(counts), int(np.count_nonzero(events.p > 0)))
