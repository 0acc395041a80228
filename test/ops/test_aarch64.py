"""The kernels and the decoders of events on an emulated ARM processor: NEON's results against the references.

`aarch64_driver.cpp` holds neither torch nor Python, so a cross-compiler and qemu are all that this needs.
"""

from __future__ import annotations

import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mambaseg_core import ops
from mambaseg_core.events.decode import ENCODINGS, reference
from mambaseg_core.events.decode.state import DecoderState
from mambaseg_core.ops.reference import project_map, ss2d_projected

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMPILER, EMULATORS = "aarch64-linux-gnu-g++", ("qemu-aarch64-static", "qemu-aarch64")
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13}  # largest error over the largest value
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE))
# Position of the type in a word, and types with content, so that packets are more than noise
TYPES = {
    "evt3": (12, (0, 2, 3, 4, 5, 6, 8, 10, 9)),
    "evt2": (28, (0, 1, 8, 10, 9)),
    "evt21": (60, (0, 1, 8, 10, 9)),
    "evt21_legacy": (28, (0, 1, 8, 10, 9)),
    "libcaer": (0, (1, 3)),
    "libcaer_cmp": (12, (0, 1, 2, 3, 4, 5, 9)),
    "mono": (60, range(16)),
}
Driver = Callable[[str, list[int], bytes], bytes]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """Compile the driver with the flags of setup.py; return a call of it: command, sizes, the other arguments."""
    emulator = next((found for name in EMULATORS if (found := shutil.which(name))), None)
    if shutil.which(COMPILER) is None or emulator is None:
        pytest.skip(
            f"needs {COMPILER} and {' or '.join(EMULATORS)}: apt install g++-aarch64-linux-gnu qemu-user-static"
        )
    pytest.importorskip("setuptools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["setup.py", "--name"])
        patch.chdir(ROOT)
        flags = runpy.run_path("setup.py")["FLAGS"]
    program = tmp_path_factory.mktemp("aarch64") / "driver"
    kernels = [ROOT / "csrc" / "cpu" / name for name in ("kernels_plain.cpp", "dispatch.cpp")]
    decoders = sorted((ROOT / "csrc" / "cpu").glob("event_codec_*.cpp"))
    sources = [Path(__file__).with_name("aarch64_driver.cpp"), *kernels, *decoders]
    done = subprocess.run(
        [COMPILER, *flags, "-Wall", "-Werror", "-static", *map(str, sources), "-o", str(program)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[:2000]

    def call(command: str, sizes: list[int], arguments: bytes) -> bytes:
        given = np.array(sizes, np.int64).tobytes() + arguments
        done = subprocess.run([emulator, str(program), command], input=given, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return call


def compare(driver: Driver, command: str, sizes: list[int], given: list[Tensor], expected: Tensor) -> None:
    """Give a command numbers of one dtype, and hold its result to the reference's in float64."""
    dtype = given[0].dtype
    arguments = b"".join(tensor.contiguous().numpy().tobytes() for tensor in given)
    octets = bytearray(driver(f"{command}{dtype.itemsize}", sizes, arguments))
    got = torch.frombuffer(octets, dtype=dtype).double().reshape(expected.shape)
    assert float((got - expected).abs().max()) <= TOLERANCE[dtype] * float(expected.abs().max())


def numbers(dtype: torch.dtype) -> Callable[..., Tensor]:
    """Return a source of random numbers that are exact in `dtype`."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


@DTYPES
@pytest.mark.parametrize(("channels", "state", "length"), [(7, 5, 131), (4, 1, 64), (1, 16, 3)])
def test_selective_scan(driver: Driver, dtype: torch.dtype, channels: int, state: int, length: int) -> None:
    draw = numbers(dtype)
    rows = (2, 2 * channels, length)
    u, delta, A = draw(*rows), draw(*rows) - 2, -draw(2 * channels, state).exp()
    B, C, D, bias = draw(2, 2, state, length), draw(2, 2, state, length), draw(2 * channels), draw(2 * channels)
    given = [u, delta, A, B, C, D, bias]
    expected = ops.selective_scan(*(v.double() for v in given), delta_softplus=True, backend="reference")
    compare(driver, "scan", [2, 2, channels, length, state], given, expected)


@DTYPES
@pytest.mark.parametrize("shape", [(2, 9, 13, 19), (1, 1, 5, 4), (1, 7, 1, 3)])
def test_ss2d(driver: Driver, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    draw, channels, state, rank = numbers(dtype), shape[-1], 5, 3
    x, projection = draw(*shape), draw(4, rank + 2 * state, channels)
    given = [draw(4, channels, rank), draw(4, channels) - 2, -draw(4 * channels, state).exp(), draw(4 * channels)]
    projected = project_map(x.double(), projection.double()).to(dtype)
    expected = ss2d_projected(*(v.double() for v in (x, projected, *given)))
    compare(driver, "ss2d", [*shape, state, rank], [x, projected, *given], expected)


@DTYPES
@pytest.mark.parametrize(
    ("activation", "function"), list(enumerate((lambda x: x, F.relu, F.gelu, F.silu, torch.sigmoid)))
)
def test_fused_linear(
    driver: Driver, dtype: torch.dtype, activation: int, function: Callable[[Tensor], Tensor]
) -> None:
    draw, rows, inputs, outputs = numbers(dtype), 29, 37, 45
    x, weight, bias = draw(rows, inputs), draw(outputs, inputs) / 6, draw(outputs)
    scale, shift = draw(inputs), draw(inputs)
    packed = torch.ops.mambaseg.pack_linear(weight)
    normed = F.layer_norm(x.double(), (inputs,), scale.double(), shift.double(), 1e-5)
    expected = function(F.linear(normed, weight.double(), bias.double()))
    sizes = [rows, inputs, outputs, activation, packed.numel()]
    compare(driver, "linear", sizes, [x, packed, bias, scale, shift], expected)


def packets_of(encoding: str) -> list[bytes]:
    """Draw packets of words with content, then one of noise that ends within a word."""
    generator, (at, kinds) = np.random.default_rng(0), TYPES[encoding]
    word = np.dtype(f"<u{reference.WORD_BYTES[encoding]}")
    packets = []
    for count in (0, 1, 500, 4000):
        values = generator.integers(0, 2 ** (8 * word.itemsize), count, word.type, endpoint=False)
        values[::3] &= word.type(63)
        mask = word.type((3 if encoding == "libcaer" else 15) << at)
        types = generator.choice(np.array(kinds, word), count)
        packets.append(((values & ~mask) | types << word.type(at)).astype(word).tobytes())
    return [*packets, generator.bytes(8 * 1001 + 1)]


@pytest.mark.parametrize("size", [(1500, 1800), (4, 4)])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoders_return_the_bits_of_the_reference(driver: Driver, encoding: str, size: tuple[int, int]) -> None:
    packets, base_ns = packets_of(encoding), 10**15
    framed = b"".join(len(packet).to_bytes(8, "little") + packet for packet in packets)
    octets, at = driver(encoding, [*size, base_ns, len(packets)], framed), 0

    def take(kind: type[np.generic], count: int) -> NDArray[np.generic]:
        nonlocal at
        taken = np.frombuffer(octets, kind, count, at)
        at += taken.nbytes
        return taken

    state, events = DecoderState(*size), 0
    for packet in packets:
        columns = reference.run(encoding, np.frombuffer(packet, np.uint8), base_ns, state)
        events += len(columns.x)
        assert int(take(np.int64, 1)[0]) == len(columns.x)
        for column in columns:
            assert np.array_equal(take(column.dtype.type, len(column)), column)
    names = [name for name, _ in DecoderState._fields_ if not name.endswith("_at") or name == "vector_at"]
    assert take(np.int64, len(names)).tolist() == [getattr(state, name) for name in names]
    for column in (state.trigger_t_ns, state.trigger_channel, state.trigger_edge):
        assert np.array_equal(take(column.dtype.type, state.triggers), column[: state.triggers])
    assert at == len(octets)
    assert events > 100 or size == (4, 4)
