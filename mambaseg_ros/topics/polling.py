"""Taking messages from a subscription without the executor.

An executor of rclpy builds a wait set and two tasks for each message: a quarter of a millisecond of Python, for up to a
thousand packets a second. Here all that wait in the middleware are taken in one go.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.subscription import Subscription

MOST_AT_ONCE = 1000  # messages, as many as the queue in the middleware holds


class PolledGroup(CallbackGroup):
    """Keep executors from taking the messages of a subscription; its events, such as losses, are served as usual."""

    def can_execute(self, entity: Any) -> bool:
        """Return False for the subscription."""
        return not isinstance(entity, Subscription)

    def beginning_execution(self, entity: Any) -> bool:
        """Return True: the events of a subscription may be served at any time."""
        return True

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


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
