"""`mambaseg export --format aoti`: a network compiled to native code for this processor, checked and described."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from mambaseg_core import extension
from mambaseg_core.engines import aoti
from mambaseg_core.engines.engine import one_line
from mambaseg_core.engines.processor import instruction_sets
from mambaseg_core.export.agreement import compare
from mambaseg_core.export.dispatch_shims import shims
from mambaseg_core.export.frames import street_frames
from mambaseg_core.export.metadata import describe
from mambaseg_core.export.network import ExportedNetwork, ExportForm, example_inputs
from mambaseg_core.export.written import FRAMES, WrittenFile, check_suffix, write_file
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.models.presets import Network, preprocessing_of
from mambaseg_core.models.released.unit_inputs import with_unit_inputs

CONFIG: Final[dict[str, Any]] = {"freezing": True, "cpp.dynamic_threads": True}
"""AOTInductor's settings: weights are constants, and threads are those of the caller."""


def export_aoti(
    model: Network,
    out: Path,
    form: ExportForm,
    *,
    device: torch.device,
    source: Path | None = None,
    frames: int = FRAMES,
) -> WrittenFile:
    """Write a network as a package of AOTInductor, after it has given PyTorch's masks.

    On the CPU its inference form is compiled, with our operators inside.

    Args:
        model: A network of `create_model`, on the CPU in float32; it is not changed but for its mode, which is eval
            afterwards.
        out: The file, .pt2, in an existing folder.
        form: Inputs and outputs.
        device: Where the package will run.
        source: The file of weights, whose hash the metadata have.
        frames: Frames of synthetic drives to check with.

    Raises:
        ValueError: The name's suffix, `form.half`, no compiler or compiled operators here, or a package that does not
            agree: nothing is written then.
        WriteError: The file cannot be written.
    """
    check_suffix(out, ".pt2")
    if form.half:
        raise ValueError("half is set, but a package of AOTInductor is in float32; expected it unset: leave out --half")
    if extension.MISSING:
        raise ValueError(f"the compiled operators do not work here: {extension.MISSING}. {extension.ADVICE}")
    compiler = os.environ.get("CXX", "g++")  # as torch chooses it
    if not shutil.which(compiler):
        raise ValueError(
            f"AOTInductor compiles with {compiler}, which is not here; expected g++, or another compiler that CXX "
            "names: install one to export"
        )
    model, setup = model.eval(), preprocessing_of(model)
    plain = with_unit_inputs(model)
    with tempfile.TemporaryDirectory() as folder:
        package = _compile(plain, example_inputs(model, form), form, device, Path(folder))
        _describe(package, describe(model, setup, form, (), source), device)
        engine = aoti.load(package, device=str(device))
        check = compare(engine, plain, form, street_frames(setup, frames))
        check.refuse_below("float32")
        description = _describe(package, describe(model, setup, form, (check,), source), device)
        data = package.read_bytes()
    return write_file(out, data, description, (check,))


@torch.no_grad()
def _compile(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], form: ExportForm, device: torch.device, folder: Path
) -> Path:
    network = InferenceForm(model).network() if device.type == "cpu" else model
    exported = ExportedNetwork(network, form).eval().to(device)
    package = folder / "package.pt2"
    try:
        with _quiet():
            program = torch.export.export(exported, tuple(x.to(device) for x in inputs), strict=False)
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(package),
                inductor_configs={**CONFIG, "aot_inductor.custom_ops_to_c_shims": shims(device.type)},
            )
    except Exception as error:  # of any part of torch's compiler
        raise ValueError(
            f"AOTInductor cannot compile {model.name} ({type(error).__name__}: {one_line(error)}); expected one of our "
            "networks and a working compiler: export it as ONNX, or report this"
        ) from error
    return package


def _describe(package: Path, values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Put a description into a package in place of the one before, with what its code depends on; return all of it."""
    with zipfile.ZipFile(package) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    machine, sets = instruction_sets()
    values.pop("opset")  # of ONNX
    values["written_for"] = "aoti"
    values["aoti"] = {
        "torch": torch.__version__,
        "device": str(device),
        "machine": machine,
        "instruction_sets": sets,
        "code_sha256": aoti.code_hash(entries),
    }
    if device.type == "cuda":
        values["aoti"]["capability"] = list(torch.cuda.get_device_capability(device))
    root = next(iter(entries)).partition("/")[0]
    entries[f"{root}/{aoti.DESCRIPTION}"] = json.dumps(values).encode()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return values


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the compiler's remarks for its developers to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
