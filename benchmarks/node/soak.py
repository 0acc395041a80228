"""Random faults for half an hour: the node lives, its counts are right, its memory is flat, it recovers in 2 s.

    python benchmarks/node/soak.py [--minutes 30] [--seed 0]

Draws from the table of test/ros/fault_rows.py and prints what was wrong, the recoveries, and the node's memory.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "test" / "ros"))

import numpy as np
from fault_rows import FAULTS
from fault_table import recover, run, running_node

RECOVERY_S = 2.0  # the target
WARM = 0.2  # share of the time after which memory shall not grow


def memory_mib(process: int) -> float:
    """Return the resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    draw, begun = random.Random(words.seed), time.monotonic()
    recoveries: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, list[str]] = defaultdict(list)
    memory: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, running_node(Path(folder)) as peer:
        while (minutes := (time.monotonic() - begun) / 60) < words.minutes:
            fault = draw.choice(FAULTS)
            row = run(fault, peer)
            recoveries[fault.name].append(row.recovery_s)
            if row.wrong:
                wrong[fault.name].append(row.wrong)
            memory.append((minutes, memory_mib(peer.process.child.pid)))
        status = recover(peer)
        alive = peer.process.child.poll() is None
        said = len(peer.process.lines)
    traceback = "Traceback" in peer.process.output
    every = [second for seconds in recoveries.values() for second in seconds]
    late = {name: max(seconds) for name, seconds in recoveries.items() if max(seconds) > RECOVERY_S}
    after = np.array([row for row in memory if row[0] > WARM * words.minutes])
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {words.minutes:g} minutes, seed {words.seed}\n")
    print("| | |\n|---|---|")
    print(f"| faults injected | {len(every)}, of {len(recoveries)} kinds |")
    print(f"| node alive, traceback, lines in its log | {alive}, {traceback}, {said} |")
    print(f"| images received since the last activation | {status.images_received} |")
    print(f"| verdicts that were wrong | {sum(map(len, wrong.values()))} |")
    print(
        f"| recovery p50 / p95 / largest [s] | {' / '.join(f'{x:.2f}' for x in np.percentile(every, (50, 95, 100)))} |"
    )
    print(f"| kinds that took more than {RECOVERY_S:g} s | {late or 'none'} |")
    most = max(mib for _, mib in memory)
    print(f"| memory first, largest, last [MiB] | {memory[0][1]:.0f}, {most:.0f}, {memory[-1][1]:.0f} |")
    if len(after) > 1:
        print(f"| growth after the first {100 * WARM:.0f} % [MiB/h] | {60 * np.polyfit(*after.T, 1)[0]:+.1f} |")
    for name, sentences in wrong.items():
        print(f"\nwrong {len(sentences)} times: {name}: {sentences[0]}")
    return int(bool(wrong) or traceback or not alive)


if __name__ == "__main__":
    sys.exit(main())
