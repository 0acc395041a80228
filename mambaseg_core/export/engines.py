"""Engines that run an ONNX file here, each as one function from inputs to outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mambaseg_core.export.packages import need

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Run: TypeAlias = Callable[[Arrays], Arrays]


def load_onnxruntime(data: bytes) -> Run:
    """Return a function that runs an ONNX file in ONNX Runtime on the CPU, on as many threads as torch has."""
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def load_openvino(data: bytes) -> Run:
    """Return a function that runs an ONNX file in OpenVINO on the CPU, in float32.

    On processors with units for bfloat16 OpenVINO takes that by itself, unless it is told float32.
    """
    core = need("openvino").Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(core.read_model(model=data), "CPU", config)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(inputs: Arrays) -> Arrays:
        results = compiled(dict(inputs))
        return {name: np.array(results[name]) for name in names}

    return run


LOADERS: Final[dict[str, Callable[[bytes], Run]]] = {"onnxruntime": load_onnxruntime, "openvino": load_openvino}
"""How an engine loads a file; TensorRT needs its GPU, and is checked in ONNX Runtime."""
