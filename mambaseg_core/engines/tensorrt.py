"""TensorRT: an engine that `trtexec` built from an exported ONNX file, with that file's description beside it.

Written after NVIDIA's documentation of TensorRT 10 (`IExecutionContext.execute_async_v3`); nobody has run it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mambaseg_core.engines.engine import Arrays, Engine, UnfitFileError
from mambaseg_core.engines.packages import need


def load(path: Path, *, device: str = "auto") -> Engine:
    """Load an engine of TensorRT.

    Args:
        path: The engine; the .json that `mambaseg export` wrote lies beside it under the same name.
        device: "auto", "cuda" or "cuda:N".

    Raises:
        UnfitFileError: A GPU or the description is missing, or the engine is of another version or GPU.
        ValueError: The package is missing.
    """
    tensorrt = need("tensorrt")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise UnfitFileError(
            f"is an engine without its description; expected {beside.name} in the same folder: copy it from beside the "
            "ONNX file that the engine was built from"
        )
    if device == "cpu" or not torch.cuda.is_available():
        raise UnfitFileError(f"was asked for on {device!r}, but TensorRT runs on a CUDA device, which torch must see")
    place = torch.device("cuda" if device == "auto" else device)
    with torch.cuda.device(place):
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise UnfitFileError(
                f"is no engine that TensorRT {tensorrt.__version__} takes on this GPU; expected one that trtexec of "
                "the same version built on the same kind of GPU: build it here"
            )
        context = engine.create_execution_context()
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    outputs = [name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.OUTPUT]
    types = {name: _dtype(tensorrt, engine.get_tensor_dtype(name)) for name in outputs}

    def run(inputs: Arrays) -> Arrays:
        with torch.cuda.device(place):
            buffers = {name: torch.from_numpy(value).to(place) for name, value in inputs.items()}
            for name in outputs:
                buffers[name] = torch.empty(tuple(engine.get_tensor_shape(name)), dtype=types[name], device=place)
            for name, buffer in buffers.items():
                context.set_tensor_address(name, buffer.data_ptr())
            stream = torch.cuda.current_stream()
            if not context.execute_async_v3(stream.cuda_stream):
                raise RuntimeError("TensorRT could not run the engine; its log says why")
            stream.synchronize()
            return {name: buffers[name].cpu().numpy() for name in outputs}

    metadata = json.loads(beside.read_text())
    return Engine("tensorrt", tensorrt.__version__, str(place), metadata, run)


def _dtype(tensorrt: Any, kind: Any) -> torch.dtype:
    """Return torch's name of the types that our files give."""
    return torch.uint8 if kind == tensorrt.DataType.UINT8 else torch.float32
