"""Compiled code of AOTInductor, called through its C interface, and so without Python's lock.

Torch's own loader, `torch._inductor.aoti_load_package`, is not used: it imports torch's compiler, which takes seconds;
it holds Python's lock while a network runs, so that a node reads no messages meanwhile; and it leaves files behind when
the process is killed.
"""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections.abc import Mapping
from ctypes import byref, c_char_p, c_int32, c_size_t, c_void_p, py_object
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mambaseg_core.files import write_bytes

_PREFIX: Final = "AOTInductorModelContainer"
_ADDRESS: Final = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_CAPSULE: Final = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
_OPENED: Final[dict[bytes, ctypes.CDLL]] = {}
"""Libraries by the hash of their bytes: the linker unloads none that has unique symbols, as these have."""


class CompiledCode:
    """A network of `mambaseg export --format aoti`. Calls of several threads wait for each other.

    Args:
        files: All files of the compiled network, by name; they are no longer needed afterwards.
        outputs: How many tensors it returns.
        example: Inputs, with which it runs once, on its device.

    Raises:
        OSError: The library cannot be loaded.
        RuntimeError: It does not run.
    """

    def __init__(self, files: Mapping[str, bytes], outputs: int, example: list[Tensor]) -> None:
        self._outputs = outputs
        self._handle = c_void_p()
        libraries = [name for name in files if name.endswith(".so")]
        if len(libraries) != 1:
            raise RuntimeError(f"it holds {len(libraries)} libraries, expected one")
        if libraries[0].removesuffix(".so") + ".json" in files:
            raise RuntimeError("it calls operators that have no C function")
        device = example[0].device
        with tempfile.TemporaryDirectory(prefix="mambaseg_aoti_") as folder:
            for name, data in files.items():
                write_bytes(Path(folder, name), data)
            digest = hashlib.sha256(files[libraries[0]]).digest()
            if digest not in _OPENED:
                _OPENED[digest] = ctypes.CDLL(str(Path(folder, libraries[0])))
            self._library = _OPENED[digest]
            where = str(device).encode(), folder.encode()
            self._call("CreateWithDevice", byref(self._handle), c_size_t(1), *where)
            self(example)  # loads what a GPU runs

    @torch.inference_mode()
    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Map all inputs, contiguous and of the compiled shapes, to the outputs.

        Raises:
            RuntimeError: An operator failed.
        """
        capsules = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(inputs)
        given = (c_void_p * len(inputs))(*(_ADDRESS(capsule, None) for capsule in capsules))
        made = (c_void_p * self._outputs)()
        stream = torch.cuda.current_stream(inputs[0].device).cuda_stream if inputs[0].is_cuda else None
        counts = c_size_t(len(given)), c_size_t(len(made))
        self._call("Run", self._handle, given, counts[0], made, counts[1], c_void_p(stream), c_void_p())
        return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs([_CAPSULE(x, None, None) for x in made])

    def __del__(self) -> None:
        """Give back what the library has computed from its weights."""
        if self._handle:
            self._call("Delete", self._handle)

    def _call(self, name: str, *arguments: Any) -> None:
        function = self._library[_PREFIX + name]
        function.restype = c_int32
        if function(*arguments):
            raise RuntimeError(f"its {name} failed; the reason is on the standard error output")
