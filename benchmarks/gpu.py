"""All that needs a GPU, in two calls: tests, agreement, speed, memory, start-up, training, the node's threads.

    python benchmarks/gpu.py first                  # within 430 s: what has to be right, then how fast it is
    python benchmarks/gpu.py second                 # within 360 s: training, the node's threads, other scans
    python benchmarks/gpu.py speed segmenter        # some stages only (`--list`)
    python benchmarks/gpu.py --report out/gpu/results.jsonl
    python benchmarks/gpu.py first second --device cpu --tiny    # tries the script where no GPU is

A checkout is enough: nothing needs to be installed but torch, triton and numpy (with h5py, opencv, safetensors,
pyyaml and pytest). Each stage is a process of its own, killed with its children at its limit; then the next one
starts. Every result is on disk as soon as it is known: `results.jsonl` in `--out`, with `log.txt` (all output),
`profile.txt`, and `report.md`, whose tables are those of docs/benchmarks.md. Exit status: 1 if any stage failed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gpu_stages.main import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve(), __doc__))
