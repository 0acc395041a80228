"""Event files: one lazy reader, `open_events`, over DSEC, DDD17, `.raw`, AEDAT4 and ROS bags."""

from __future__ import annotations

from mambaseg_core.recordings.aedat4 import Aedat4Frame, aedat4_frames
from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.open import open_events
from mambaseg_core.recordings.reader import EventReader, Excerpt

__all__ = ["Aedat4Frame", "EventFileError", "EventReader", "Excerpt", "aedat4_frames", "open_events"]
