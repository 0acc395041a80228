"""One clean end whatever signals come, in every phase of a process: no traceback, and one exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handmade_bags as bags
import pytest
from peer import Peer

from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.signals import INTERRUPTED

pytestmark = pytest.mark.ros
BURST = (signal.SIGINT, signal.SIGTERM, signal.SIGINT)
COMMAND = (sys.executable, "-X", "importtime", "-m", "mambaseg_ros", "bag")


def end_at(process: Any, line: str) -> int:
    """Send several signals in a row as soon as a process has printed a line; return its exit status."""
    process.wait_for_line(line)
    for number in BURST:
        process.child.send_signal(number)
    return int(process.stop())


@pytest.mark.parametrize("phase", [" numpy\n", " rclpy\n", "waiting for a subscriber of /image"])
def test_a_player_ends_by_signals(tmp_path: Path, start: Callable[..., Any], phase: str) -> None:
    bags.humble(tmp_path / "bag")
    player = start(*COMMAND, "play", tmp_path / "bag", "--wait", 600, "--topic", "/image")
    status = end_at(player, phase)
    assert "Traceback" not in player.output
    assert status == INTERRUPTED, player.output


SWALLOWS = """
import sys, time
from mambaseg_ros import signals

def command():
    print("begun", flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass  # as code in C does
    time.sleep(600)

signals.AGAIN_S = 1.5
signals.run_command(command)
"""


def test_an_interruption_that_is_swallowed_comes_again(start: Callable[..., Any]) -> None:
    process = start(sys.executable, "-c", SWALLOWS)
    assert end_at(process, "begun") == INTERRUPTED, process.output
    assert "Traceback" not in process.output


EXECUTES = """
import time
from mambaseg_ros import signals

def command():
    exec("print('begun', flush=True); time.sleep(600)")  # dataclasses are made by code in strings

signals.run_command(command)
"""


def test_an_interruption_in_code_of_a_string_ends_with_the_same_status(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    (tmp_path / "executes.py").write_text(EXECUTES)
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    process = start(sys.executable, "-m", "executes", env={**os.environ, "PYTHONPATH": path})  # with -c it was right
    assert end_at(process, "begun") == INTERRUPTED, process.output
    assert "Traceback" not in process.output


def test_a_recorder_finishes_its_bag(tmp_path: Path, start: Callable[..., Any]) -> None:
    recorder = start(*COMMAND, "record", tmp_path / "bag", "/nothing")
    assert end_at(recorder, "nobody publishes /nothing") == 0, recorder.output
    assert "Traceback" not in recorder.output
    with Bag(tmp_path / "bag") as reader:
        assert list(reader.messages()) == []


@pytest.mark.parametrize("phase", [" torch\n", " mambaseg_ros.topics.subscriptions\n", "random weights"])
def test_a_node_ends_by_signals(
    start: Callable[..., Any],
    node_command: Callable[..., list[str]],
    phase: str,
) -> None:
    words = node_command("-X", "importtime", "-m", "mambaseg_ros.node", weights="random")
    node = start(*words)
    status = end_at(node, phase)
    assert "Traceback" not in node.output
    assert status == 0, node.output


@pytest.mark.parametrize("phase", ["random weights", "active: model"])
def test_a_node_that_ended_is_gone_from_the_graph(
    peer: Peer, start: Callable[..., Any], node_command: Callable[..., list[str]], phase: str
) -> None:
    node = start(*node_command("-m", "mambaseg_ros.node", weights="random"))
    peer.spin_until(lambda: "mambaseg" in peer.node.get_node_names(), "the node in the graph")
    assert end_at(node, phase) == 0, node.output
    # one that only stopped talking would stay for 20 s
    peer.spin_until(lambda: "mambaseg" not in peer.node.get_node_names(), "a graph without the node", timeout=10)
