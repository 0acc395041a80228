"""Bags of ROS 2 (mcap, sqlite3) and ROS 1, opened in one way by every command, without ROS.

What needs rosbags is imported when it is first asked for: a machine without it still opens all other recordings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mambaseg_core.recordings.bag.files import is_bag

if TYPE_CHECKING:
    from mambaseg_core.recordings.bag.bag import Bag, BagMessage, BagTopic
    from mambaseg_core.recordings.bag.events import open_bag_events

_LATER: Final = {"Bag": "bag", "BagMessage": "bag", "BagTopic": "bag", "open_bag_events": "events"}

__all__ = ["Bag", "BagMessage", "BagTopic", "is_bag", "open_bag_events"]


def __getattr__(name: str) -> Any:
    """Import a public name whose module is not loaded yet."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
