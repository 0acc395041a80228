"""Events: the `Events` type, decoders, a bounded buffer, windows and clocks."""

from __future__ import annotations

from mambaseg_core.events.array import Events
from mambaseg_core.events.buffer import EventBuffer
from mambaseg_core.events.clock import EventClock
from mambaseg_core.events.decode import Decoder, decode
from mambaseg_core.events.window import Window

__all__ = ["Decoder", "EventBuffer", "EventClock", "Events", "Window", "decode"]
