"""ONNX Runtime: on the CPU, or on a GPU by its TensorRT or CUDA provider where that is installed."""

from __future__ import annotations

from typing import Any

import torch

from mambaseg_core.engines.engine import Engine, UnfitFileError, as_json, one_line
from mambaseg_core.engines.packages import need

ON_GPU = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def load(data: bytes, *, device: str = "cpu") -> Engine:
    """Load an ONNX file, on as many threads as torch has.

    Args:
        data: The file's content.
        device: "cpu", "cuda" or "cuda:N"; "auto": a GPU where ONNX Runtime has a provider for one, else the CPU.

    Raises:
        UnfitFileError: ONNX Runtime has no provider for the device, or does not take the file.
        ValueError: The package is missing.
    """
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave their cores
    options.log_severity_level = 3  # errors alone
    providers = _providers(runtime, device)
    try:
        session = runtime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # of classes that ONNX Runtime does not export
        raise UnfitFileError(
            f"is no file that ONNX Runtime {runtime.__version__} takes ({one_line(error)}): export it again"
        ) from error
    used = session.get_providers()[0]
    if device.startswith("cuda") and used not in ON_GPU:
        raise UnfitFileError(
            f"was asked for on {device!r}, but ONNX Runtime runs it in {used}: see its log, or use 'cpu'"
        )
    names = [output.name for output in session.get_outputs()]
    metadata = {key: as_json(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    return Engine(
        "onnxruntime",
        runtime.__version__,
        used,
        metadata,
        lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)),
    )


def _providers(runtime: Any, device: str) -> list[Any]:
    """Return the providers for a device, best first; the CPU computes what they cannot."""
    kind, _, number = device.partition(":")
    installed = [name for name in ON_GPU if name in runtime.get_available_providers()]
    if kind == "cuda" and not installed:
        raise UnfitFileError(
            f"was asked for on {device!r}, but the installed onnxruntime has no provider for a GPU; expected 'cpu', or "
            "the package onnxruntime-gpu: install it"
        )
    gpu = [(name, {"device_id": int(number or 0)}) for name in installed] if kind in ("auto", "cuda") else []
    return [*gpu, "CPUExecutionProvider"]
