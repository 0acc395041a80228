"""OpenVINO on the CPU, in the file's own precision."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from mambaseg_core.engines.engine import Arrays, Engine, UnfitFileError, as_json, one_line
from mambaseg_core.engines.packages import need


def load(data: bytes, *, device: str = "cpu") -> Engine:
    """Load an ONNX file, on as many threads as torch has.

    On processors with units for bfloat16 OpenVINO takes that by itself, unless it is told float32.

    Args:
        data: The file's content.
        device: "cpu" or "auto".

    Raises:
        UnfitFileError: OpenVINO does not run on the device, or does not take the file.
        ValueError: The package is missing.
    """
    openvino = need("openvino")
    if device not in ("auto", "cpu"):
        raise UnfitFileError(f"was asked for on {device!r}; OpenVINO here runs on 'cpu': use that")
    core, version = _core(), openvino.__version__.partition("-")[0]
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        model = core.read_model(model=data)
        compiled = core.compile_model(model, "CPU", config)
    except Exception as error:  # it raises RuntimeError for all
        raise UnfitFileError(
            f"is no file that OpenVINO {version} takes ({one_line(error)}): export it again"
        ) from error
    names = [output.get_any_name() for output in compiled.outputs]

    def run(inputs: Arrays) -> Arrays:
        results = compiled(dict(inputs))
        return {name: np.array(results[name]) for name in names}

    return Engine("openvino", version, "CPU", _metadata(model), run)


@cache
def _core() -> Any:
    """Return the one core of the process.

    On processors with AMX each core replaces the alternate signal stack of its thread, and puts the earlier one back
    when it goes. With two of them that may be a stack that was unmapped, and the next signal then ends the process
    without a word; so none ever goes.
    """
    return need("openvino").Core()


def _metadata(model: Any) -> dict[str, Any]:
    """Return the metadata of the ONNX file, which OpenVINO keeps beside the graph."""
    if not model.has_rt_info("framework"):
        return {}
    values = model.get_rt_info("framework").value
    return {key: as_json(str(value)) for key, value in values.items()}
