"""`mambaseg export --format onnx`: a network as a file of ONNX that has been checked, and a description beside it."""

from __future__ import annotations

from pathlib import Path

from mambaseg_core.engines.open import ONNX
from mambaseg_core.engines.packages import need
from mambaseg_core.export.agreement import compare
from mambaseg_core.export.frames import street_frames
from mambaseg_core.export.metadata import describe, precision_of, store
from mambaseg_core.export.network import ExportForm, to_onnx
from mambaseg_core.export.written import FRAMES, WrittenFile, check_suffix, write_file
from mambaseg_core.models.presets import Network, preprocessing_of
from mambaseg_core.models.released.unit_inputs import with_unit_inputs


def export_onnx(
    model: Network, out: Path, form: ExportForm, *, source: Path | None = None, frames: int = FRAMES
) -> WrittenFile:
    """Write a network as ONNX of standard operators, after engines have given PyTorch's masks with it.

    ONNX Runtime checks every file, also one for TensorRT, which needs its GPU; OpenVINO one that is written for it.

    Args:
        model: A network of `create_model`, on the CPU in float32; it is not changed but for its mode, which is eval
            afterwards.
        out: The file, .onnx, in an existing folder.
        form: Inputs, outputs, precision and engine.
        source: The file of weights, whose hash the metadata have.
        frames: Frames of synthetic drives to check with.

    Raises:
        ValueError: The name's suffix, a missing package, or an engine that does not agree: nothing is written then.
        WriteError: The file cannot be written.
    """
    check_suffix(out, ".onnx")
    engines = [engine for engine in ONNX if engine in ("onnxruntime", form.engine)]
    for package in ("onnx", "onnxscript", *engines):
        need(package)
    model, setup = model.eval(), preprocessing_of(model)
    proto = to_onnx(model, form)
    data = proto.SerializeToString()
    pictures = street_frames(setup, frames)
    checks = tuple(compare(ONNX[engine](data), with_unit_inputs(model), form, pictures) for engine in engines)
    for check in checks:
        check.refuse_below(precision_of(form))
    description = describe(model, setup, form, checks, source)
    store(proto, description)
    data = proto.SerializeToString()
    return write_file(out, data, description, checks, nodes=len(proto.graph.node))
