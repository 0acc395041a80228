"""Bags of ROS 2 (mcap, sqlite3) and ROS 1, opened in one way by every command, without ROS."""

from __future__ import annotations

from mambaseg_core.recordings.bag.bag import Bag, BagMessage, BagTopic
from mambaseg_core.recordings.bag.events import open_bag_events
from mambaseg_core.recordings.bag.files import is_bag

__all__ = ["Bag", "BagMessage", "BagTopic", "is_bag", "open_bag_events"]
