"""`mambaseg export`: a network for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mambaseg_core.cli.app import app, console, size_of, warn
from mambaseg_core.export.written import FRAMES

FORMATS = ("onnx", "aoti")


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="a file of weights, or the name of some that ship, such as synthetic")],
    out: Annotated[
        Path, typer.Argument(help="the file to write, .onnx or .pt2; a description in .json comes beside it")
    ],
    kind: Annotated[str, typer.Option("--format", help="onnx, or aoti: compiled for this processor")] = "onnx",
    size: Annotated[str, typer.Option(help="height x width of the inputs; default: that of the weights")] = "",
    model: Annotated[str, typer.Option(help="the model's name, where the weights do not tell it")] = "mambaseg_nano",
    inputs: Annotated[str, typer.Option(help="both, image or second; the other is zeros inside")] = "both",
    outputs: Annotated[str, typer.Option(help="logits, or mask: class ids and confidence")] = "logits",
    batch: Annotated[int, typer.Option(help="frames in one call", min=1)] = 1,
    half: Annotated[bool, typer.Option("--half", help="weights and features in float16, scans in float32")] = False,
    engine: Annotated[str, typer.Option("--for", help="onnxruntime, openvino or tensorrt")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="where a package of aoti will run: cpu or cuda")] = "cpu",
    frames: Annotated[int, typer.Option(help="synthetic frames to check the file with", min=1)] = FRAMES,
) -> None:
    """Write a network for other engines, of fixed sizes, after its masks were compared with torch's.

    Example: mambaseg export runs/nano/best.safetensors nano.onnx --size 240x320 --outputs mask

    onnx: standard operators only; ONNX Runtime and the engine of --for run the file on frames of synthetic drives.
    aoti: native code for processors like this one and this version of torch. A file that does not agree is refused.
    """
    from mambaseg_core.checkpoint import create_model, load_checkpoint, names_model, weights_file
    from mambaseg_core.export.aoti import export_aoti
    from mambaseg_core.export.network import ExportForm
    from mambaseg_core.export.onnx_file import export_onnx
    from mambaseg_core.inference import choose_device

    if kind not in FORMATS:
        raise ValueError(f"--format is {kind!r}; expected one of {', '.join(FORMATS)}")
    form = ExportForm(inputs=inputs, outputs=outputs, batch=batch, half=half, engine=engine)
    source = weights_file(model, weights)
    image_size = size_of("size", size) if size else None
    network: Any
    if names_model(source):
        network, _ = load_checkpoint(source, image_size=image_size)
    else:
        network = create_model(model, image_size=image_size, weights=source, warn=warn)
    out.parent.mkdir(parents=True, exist_ok=True)
    if kind == "onnx":
        if device != "cpu":
            raise ValueError(f"--device is {device!r}; expected cpu: an ONNX file is of no device: leave it out")
        written = export_onnx(network, out, form, source=source, frames=frames)
    else:
        written = export_aoti(network, out, form, device=choose_device(device), source=source, frames=frames)
    for check in written.checks:
        console.print(check.sentence(), highlight=False, soft_wrap=True)
    nodes = "compiled" if written.nodes is None else f"{written.nodes} nodes"
    numbers = f"{network.name}, {nodes}, {written.bytes / 1e6:.1f} MB"
    console.print(f"{out}: {numbers}", highlight=False, soft_wrap=True)
