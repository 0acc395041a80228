"""Decoders of event packets, from cameras' ROS drivers and from files, to `Events`.

The byte layouts are those of the ros-event-camera project (event_camera_msgs/EventPacket, field `encoding`) and of
Prophesee's files; all words are little endian. No bytes make a decoder raise: unknown words are counted. Each encoding
has a Python reference, which describes it, and a compiled decoder in csrc/cpu/event_codec_*.cpp.
"""

from __future__ import annotations

from mambaseg_core.events.decode.decoder import ENCODINGS, Decoder, DecoderCounters, Triggers, decode

__all__ = ["ENCODINGS", "Decoder", "DecoderCounters", "Triggers", "decode"]
