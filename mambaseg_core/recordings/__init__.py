"""Recordings: one lazy reader of events, `open_events`, over the files of every recorder, and their images."""

from __future__ import annotations

from mambaseg_core.recordings.aedat.aedat4 import Aedat4Frame, aedat4_frames
from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.images import RecordedImages
from mambaseg_core.recordings.open import open_events, open_images
from mambaseg_core.recordings.reader import EventReader, Excerpt

__all__ = [
    "Aedat4Frame",
    "EventFileError",
    "EventReader",
    "Excerpt",
    "RecordedImages",
    "aedat4_frames",
    "open_events",
    "open_images",
]
