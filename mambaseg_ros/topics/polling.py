"""Taking messages from a subscription without the executor.

An executor of rclpy builds a wait set and two tasks for each message: a quarter of a millisecond of Python, for up to a
thousand packets a second. Here all that wait in the middleware are taken in one go.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation

MOST_AT_ONCE = 1000  # messages, as many as the queue in the middleware holds


class PolledGroup(CallbackGroup):
    """Keep executors from a subscription and from its events.

    Fast DDS would wake a wait set that holds the events of a subscription as long as a message waits: half of a core.
    """

    def can_execute(self, entity: Any) -> bool:
        """Return False."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return False: nothing is executed."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


def serve_events(subscription: Any) -> None:
    """Call back for what happened to a subscription since the last call: losses, and QoS or types that do not fit."""
    for handler in subscription.event_handlers:
        handler._ready_to_take_data = True  # as a wait set would have said; without it nothing is taken
        try:
            info = handler.take_data()
        except rclpy_implementation.InvalidHandle:  # destroyed meanwhile
            return
        if info is not None and info.total_count_change:
            handler.callback(info)


def take_all(subscription: Any) -> list[tuple[Any, Any]]:
    """Return the messages that wait, oldest first, each with its info; none after the subscription was destroyed.

    Raises:
        RCLError: the middleware cannot give the first of them.
    """
    taken: list[tuple[Any, Any]] = []
    handle = subscription.handle
    try:
        with handle:
            while len(taken) < MOST_AT_ONCE:
                message = handle.take_message(subscription.msg_type, subscription.raw)
                if message is None:
                    break
                taken.append(message)
    except rclpy_implementation.InvalidHandle:
        pass
    except rclpy_implementation.RCLError:
        if not taken:
            raise
    return taken
