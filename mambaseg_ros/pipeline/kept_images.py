"""The images that masks between images are made of: those that a coming mask time may need, and the fate of each."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from typing import Any

from mambaseg_core.events.jumps import TimeJumps, Verdict
from mambaseg_ros.pipeline.camera_image import CameraImage
from mambaseg_ros.sources.source import jump_sentence

MOST_IMAGES = 16  # kept at most: images ahead of the events, as from another clock, must not fill the memory
BEFORE_ALL_NS = -(2**63)
MOST_STAMPS = 1000  # remembered to tell mask times with an image from those without


class KeptImage(CameraImage):
    """An image that several masks may be made of.

    Args:
        message: of the camera.
        stamp_ns: its stamp.

    Attributes:
        good: whether it was read for a mask.
        used: whether a mask was made of it.
    """

    def __init__(self, message: Any, stamp_ns: int) -> None:
        super().__init__(message)
        self.stamp_ns = stamp_ns
        self.good = self.used = False


class KeptImages:
    """Images in the order of their stamps, each with one fate: used, replaced, dropped or removed.

    Args:
        warn: called with a sentence on images whose time jumps.

    Attributes:
        used: images of which at least one mask was made.
        replaced: images that a newer one replaced before a mask was made of them.
        dropped: images of a time that jumped, or left at the end.
        stamps_ns: of the images that came, the newest `MOST_STAMPS`.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._jumps = TimeJumps[KeptImage]()
        self._kept: list[KeptImage] = []
        self.used = self.replaced = self.dropped = 0
        self.stamps_ns: deque[int] = deque(maxlen=MOST_STAMPS)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first_ns(self) -> int | None:
        """Stamp of the oldest image that is kept, None without one."""
        return self._kept[0].stamp_ns if self._kept else None

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest image that was believed; None before the first."""
        return self._jumps.newest_ns

    @property
    def settled_ns(self) -> int | None:
        """Stamp of the newest image that no jump can undo; None before the first."""
        return self._jumps.settled_ns

    def put(self, image: KeptImage) -> bool:
        """Keep an image unless its time jumps back; return True if that is believed, and all began anew."""
        return self._follow(self._jumps.see(image, image.stamp_ns, image.stamp_ns))

    def agree(self, time_ns: int) -> bool:
        """Believe images held back for their time if the events' time is theirs too; return True if so."""
        return self._follow(self._jumps.agree(time_ns))

    def newest_up_to(self, time_ns: int) -> KeptImage | None:
        """Return the newest image whose stamp is not after a time, None where there is none."""
        return next((image for image in reversed(self._kept) if image.stamp_ns <= time_ns), None)

    def use(self, image: KeptImage) -> None:
        """Note that a mask is made of an image; those before it are needed no more."""
        self.used += not image.used
        image.used = True
        while self._kept[0] is not image:
            self._leave(self._kept.pop(0))

    def remove(self, image: KeptImage) -> None:
        """Take out an image that cannot be read; the caller counts it."""
        self._kept.remove(image)

    def drop_after(self, time_ns: int) -> int:
        """Drop and count the images later than a time; return how many."""
        gone = [image for image in self._kept if image.stamp_ns > time_ns]
        self._kept = [image for image in self._kept if image.stamp_ns <= time_ns]
        self.stamps_ns = deque((stamp for stamp in self.stamps_ns if stamp <= time_ns), MOST_STAMPS)
        self.dropped += sum(not image.used for image in gone)
        return len(gone)

    def close(self) -> None:
        """Drop and count all images that were not used, those held back included."""
        self.drop_after(BEFORE_ALL_NS)
        self.dropped += len(self._jumps.held)
        self._jumps.clear()

    def _leave(self, image: KeptImage) -> None:
        self.replaced += not image.used

    def _follow(self, verdict: Verdict[KeptImage]) -> bool:
        """Do what `TimeJumps` says: undo, empty, add."""
        refused = len(verdict.refused)
        self.dropped += refused
        if verdict.undo_after_ns is not None:
            refused += self.drop_after(verdict.undo_after_ns)
        if refused:
            self._warn(jump_sentence("images", self._jumps.jump_ns))
        if verdict.anew:
            self.drop_after(BEFORE_ALL_NS)
        for image in verdict.keep:
            insort(self._kept, image, key=lambda kept: kept.stamp_ns)
            self.stamps_ns.append(image.stamp_ns)
        while len(self._kept) > MOST_IMAGES:
            self._leave(self._kept.pop(0))
        return verdict.anew
