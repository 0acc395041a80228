"""Long work of a node beside its callbacks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

T = TypeVar("T")
LOOK_S = 0.05  # between two looks whether the work is done


class NodeCallbacks(ReentrantCallbackGroup):
    """Callback group of a whole lifecycle node: a transition waits while long work is done, all else is answered.

    Attributes:
        busy: True while long work is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.busy = False

    def can_execute(self, entity: Any) -> bool:  # type: ignore[override]
        """Return whether a callback may run now."""
        return not self.busy or getattr(entity, "srv_type", None) is not ChangeState

    def beginning_execution(self, entity: Any) -> bool:  # type: ignore[override]
        """Return whether a callback may run now."""
        return self.can_execute(entity)


def run_beside_callbacks(node: Node, work: Callable[[], T], ended: Callable[[], bool]) -> T:
    """Run `work` in a thread and, in this one, the callbacks of all nodes; return the result of `work`.

    Called from a callback or before the node spins. A nested executor runs the callbacks, since rclpy's transition
    callbacks cannot wait for anything else, and no two callbacks ever run at once.

    Args:
        node: its default callback group is a `NodeCallbacks`.
        work: touches nothing that a callback changes.
        ended: whether the process is to end.

    Raises:
        KeyboardInterrupt: the process is to end; the thread is left to itself.
        Exception: what `work` raised.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    group, outer, inner = node.default_callback_group, node.executor, SingleThreadedExecutor(context=node.context)
    assert isinstance(group, NodeCallbacks)
    group.busy = True
    for each in [node] if outer is None else outer.get_nodes():
        inner.add_node(each)
    try:
        threading.Thread(target=run, name="load", daemon=True).start()
        while not done.done():
            if ended():
                raise KeyboardInterrupt
            inner.spin_once(timeout_sec=LOOK_S)
    finally:
        group.busy = False
        for each in inner.get_nodes():
            inner.remove_node(each)
            if outer is not None:
                outer.add_node(each)
        inner.shutdown()
    return done.result()
