"""Registers, spills and instructions of the scans' GPU kernels, read off their machine code; no GPU is needed.

    PYTHONPATH=. python benchmarks/scans/compiled.py [--card 90]

Instructions of a step are those of the innermost loop, which walks the places of a chunk, without the branch that is
not taken: step sizes are products made there or come from memory.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mambaseg_core.ops import triton_forward, triton_scan, triton_walks

TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
FORWARD = (triton_forward.chunk_ends, triton_forward.outputs)


@dataclass(frozen=True)
class Compiled:
    """What the machine code of a kernel says; `step` has the addresses and instructions of its innermost loop."""

    registers: int
    stack_bytes: int
    shuffles: int
    step: tuple[tuple[int, str], ...]

    def path(self, *, product: bool) -> list[str]:
        """Return the instructions of a step that makes its step sizes as a product, or loads them."""
        at = [address for address, _ in self.step]
        last = next(i for i, (_, text) in enumerate(self.step) if text.startswith("BRA 0x"))  # of the product
        first = next(i for i, (_, text) in enumerate(self.step) if _target(text) == at[last + 1])
        other = range(last + 1, at.index(_target(self.step[last][1]))) if product else range(first + 1, last + 1)
        return [text for i, (_, text) in enumerate(self.step) if i not in other]


def _target(instruction: str) -> int:
    """Return the address that an instruction jumps to, or -1."""
    found = re.search(r"BRA.* 0x([0-9a-f]+)", instruction)
    return int(found[1], 16) if found else -1


def build(kernel: Any, card: int, dtype: str = "fp32", *, x: str = "", maxnreg: int | None = None, **given: Any) -> Any:
    """Compile a kernel as `triton_scan` launches it, for a capability such as 90; `x` is the dtype of features."""
    given["BC"] = triton_scan.CHANNELS
    constants = {name: given[name] for name in kernel.arg_names if name in given}
    kinds = {
        name: "constexpr" if name in constants else "i32" if name in triton_walks.SIZES else f"*{dtype}"
        for name in kernel.arg_names
    }
    if x:
        kinds["x"] = f"*{x}"
    options = {"num_warps": 1, "maxnreg": maxnreg}
    return triton.compile(ASTSource(kernel, kinds, constants), target=GPUTarget("cuda", card, 32), options=options)


def build_forward(kernel: Any, card: int, states: int, dtype: str = "fp32", x: str = "") -> Any:
    """Compile a kernel of the forward scan."""
    sizes = {"N": states, "STATES": triton.next_power_of_2(states), "RANK": triton_scan.RANK}
    limit = triton_scan.most_registers(states) if dtype == "fp32" else None
    return build(kernel, card, dtype, x=x, maxnreg=limit, SOFT=True, **sizes)


def read(built: Any) -> Compiled:
    """Read a compiled kernel's machine code with Triton's own tool."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(built.asm["cubin"])
        usage, code = (
            subprocess.run([TOOL, option, file], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    lines = [(int(m[1], 16), m[2]) for m in re.finditer(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", code, re.MULTILINE)]
    loops = [
        [line for line in lines if _target(text) <= line[0] <= at] for at, text in lines if 0 <= _target(text) < at
    ]
    registers, stack = (int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK"))  # type: ignore[index]
    return Compiled(registers, stack, sum("SHFL" in line for _, line in lines), tuple(min(loops, key=len, default=[])))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", type=int, default=90, help="compute capability, 90 for 9.0")
    card = parser.parse_args().card
    print("| kernel | N | registers | spilled bytes | SHFL | instructions a step | with the product of rank 16 |")
    print("|---|---|---|---|---|---|---|")
    for states in (1, 4, 16):
        for kernel in FORWARD:
            seen = read(build_forward(kernel, card, states))
            steps = [len(seen.path(product=product)) for product in (False, True)]
            cells = (kernel.fn.__name__, states, seen.registers, seen.stack_bytes, seen.shuffles, *steps)
            print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
