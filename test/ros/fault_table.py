"""A table of faults: each is injected into a running node, which must say it, count all images, and recover.

    python test/ros/fault_table.py [--short] [NAME ...]      # prints a Markdown table; 1 where a verdict is bad

`test_fault_table.py` runs the short ones; benchmarks/node/soak.py draws from them for half an hour.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from drive import DEGRADED, ERROR, OK, exchange, send_events, times
from peer import HANG_S, Peer, Process, next_domain

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.models.presets import preset_preprocessing

STATES = {OK: "OK", DEGRADED: "DEGRADED", ERROR: "ERROR"}
COUNTED = ("images_replaced", "images_refused", "images_failed", "images_dropped", "masks_published")
MOST_LETTERS = 160  # of a cell
INPUT = (32, 48)
PARAMETERS: dict[str, Any] = {
    "model": "mambaseg_nano", "image_height": INPUT[0], "image_width": INPUT[1], "device": "cpu",
    "event_wait_ms": 500.0, "buffer_ms": 5000.0,
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One fault and the right answer to it.

    Attributes:
        name: what goes wrong.
        inject: breaks something; returns the status of the image in question, a sentence, or None.
        says: a regular expression of the sentence that must be found in the status, /diagnostics or the log; empty:
            nothing is wrong, and nothing must be said.
        states: allowed states of that status.
        counted: whether the counts of images go on (not where the node or the camera's driver begins anew).
        short: whether CI runs it.
        node: parameters of a node of its own, such as "weights:=random"; None: the node of all others.
        waits: whether that node is waited for until it has subscribed.
    """

    name: str
    inject: Callable[[Any], Any]
    says: str = ""
    states: Sequence[int] = (OK,)
    counted: bool = True
    short: bool = True
    node: Sequence[str] | None = None
    waits: bool = True


@dataclass(frozen=True)
class Row:
    """What was seen. `wrong` is empty where all was right."""

    name: str
    wrong: str
    state: str
    said: str
    where: str
    recovery_s: float

    def __str__(self) -> str:
        said = self.said.replace("|", "\\|")
        said = said if len(said) <= MOST_LETTERS else said[: MOST_LETTERS - 4] + " ..."
        verdict = self.wrong or "right"
        return f"| {self.name} | {verdict} | {self.state} | {said} | {self.where} | {self.recovery_s:.1f} |"


HEAD = "| fault | verdict | state | sentence | found in | recovery [s] |\n|---|---|---|---|---|---|"


def run(fault: Fault, peer: Any) -> Row:
    """Inject a fault into a node that is well, look for what it says, and wait until all is well again."""
    recover(peer)
    if peer.process is not None:
        since = len(peer.process.lines)
    before, sent = peer.statuses[-1], peer.images_sent
    answer = fault.inject(peer)
    said, where = said_of(fault, peer, answer, since) if fault.says else ("", "")
    begun = time.monotonic()
    after = recover(peer)
    recovery_s = time.monotonic() - begun
    state, wrong = judged(fault, answer, said)
    if fault.counted:
        wrong += miscounted(before, after, peer.images_sent - sent)
    return Row(fault.name, "; ".join(wrong), state, said, where, recovery_s)


def run_alone(fault: Fault, folder: Path) -> Row:
    """Inject a fault into a node of its own, which must say it and end with status 0."""
    assert fault.node is not None
    with running_node(folder, *fault.node, waits=fault.waits) as peer:
        answer = fault.inject(peer)
        said, where = said_of(fault, peer, answer, 0) if fault.says else ("", "")
    state, wrong = judged(fault, answer, said)
    if (status := peer.process.child.returncode) != 0 or "Traceback" in peer.process.output:
        wrong.append(f"the node ends with {status}: {peer.process.output[-300:]}")
    return Row(fault.name, "; ".join(wrong), state, said, where, 0.0)


def judged(fault: Fault, answer: Any, said: str) -> tuple[str, list[str]]:
    """Return the state of the answer, and what is wrong with it and with what was said."""
    state = "" if answer is None or isinstance(answer, str) else STATES[answer.state]
    wrong = []
    if state and answer.state not in fault.states:
        wrong.append(f"state {state}: {answer.message}")
    if fault.says and not said:
        wrong.append("nobody is told")
    if not fault.says and state and answer.message:
        wrong.append(f"says {answer.message!r}")
    return state, wrong


def recover(peer: Any) -> Any:
    """Send good input until it is answered by a good mask; return its status."""
    deadline = time.monotonic() + HANG_S
    while True:
        stamp_ns = next(times)
        send_events(peer, stamp_ns)
        status = exchange(peer, stamp_ns)
        if (status.state, status.message, status.events_used) == (OK, "", 99):
            return status
        assert time.monotonic() < deadline, f"no recovery: {status}\n{peer.process.output}"
        time.sleep(0.05)


def miscounted(before: Any, after: Any, sent: int) -> list[str]:
    """Return what is wrong in the counts between two statuses, of which the images after the first were `sent`."""

    def rise(name: str) -> int:
        return int(getattr(after, name) - getattr(before, name))

    wrong = []
    if (counted := rise("images_received") + rise("images_lost")) != sent:
        wrong.append(f"{sent} images sent, {counted} counted")
    # the image that a status answers is counted in it
    if (become := sum(map(rise, COUNTED)) - rise("masks_from_events")) != rise("images_received"):
        wrong.append(f"{rise('images_received')} images received, {become} accounted for")
    return wrong


def said_of(fault: Fault, peer: Any, answer: Any, since: int) -> tuple[str, str]:
    """Return the sentence that `fault.says` describes, and where it was found; empty if it is nowhere in 10 s."""
    pattern = re.compile(fault.says)
    if isinstance(answer, str):
        return (answer, "answer") if pattern.search(answer) else ("", "")
    if answer is not None and pattern.search(answer.message):
        return answer.message, "status"
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        for line in peer.process.lines[since:]:
            if pattern.search(line):
                return line.split("]: ", 1)[-1], "log"
        for array in peer.diagnostics[-1:]:
            for entry in array.status:
                if entry.level[0] > 0 and pattern.search(entry.message):
                    return entry.message, f"/diagnostics {entry.name.split(': ')[-1]}"
        peer.executor.spin_once(timeout_sec=0.1)
    return "", ""


@contextmanager
def running_node(folder: Path, *given: str, waits: bool = True) -> Iterator[Any]:
    """A peer with a node of a small model, whose weights are made in `folder`; `given` are further parameters."""
    torch.manual_seed(0)
    weights = folder / "nano.safetensors"
    model = create_model("mambaseg_nano", num_classes=6, image_size=INPUT, in_channels=1)
    save_checkpoint(weights, model, preset_preprocessing("mambaseg_ddd17", size=INPUT, channels=1))
    domain = next_domain()
    pairs = {**PARAMETERS, "weights": weights}.items()
    words = [word for pair in (*(f"{name}:={value}" for name, value in pairs), *given) for word in ("-p", pair)]
    peer = Peer(domain)
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    peer.process = Process([sys.executable, "-m", "mambaseg_ros.node", "--ros-args", *words], environment)
    try:
        if waits:
            peer.wait_until_connected()
        yield peer
    finally:
        peer.process.stop()
        peer.close()


def main(words: list[str]) -> int:
    """Run faults against one node and print the table."""
    from fault_rows import ALONE, FAULTS

    names = [word for word in words if not word.startswith("-")]
    short = "--short" in words
    every = FAULTS if short else [*ALONE, *FAULTS]
    chosen = [f for f in every if (f.short or not short) and (not names or any(name in f.name for name in names))]
    rows = []
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        for fault in chosen:
            if fault.node is not None:
                rows.append(run_alone(fault, Path(folder)))
                print(rows[-1], flush=True)
        with running_node(Path(folder)) as peer:
            for fault in chosen:
                if fault.node is None:
                    rows.append(run(fault, peer))
                    print(rows[-1], flush=True)
    bad = sum(bool(row.wrong) for row in rows)
    print(
        f"\n{len(rows)} faults, {len(rows) - bad} right; longest recovery {max(row.recovery_s for row in rows):.1f} s"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
