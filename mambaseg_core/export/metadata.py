"""What a program without mambaseg must know of a file: inputs, preprocessing, classes, source, check."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mambaseg_core.checkpoint import Architecture
from mambaseg_core.engines.engine import FORMAT
from mambaseg_core.export.agreement import Agreement
from mambaseg_core.export.network import OPSET, ExportForm
from mambaseg_core.labels import IGNORE
from mambaseg_core.preprocessing import Preprocessing


def describe(
    model: nn.Module, setup: Preprocessing, form: ExportForm, checks: Sequence[Agreement], source: Path | None
) -> dict[str, Any]:
    """Return plain values for JSON.

    Args:
        model: The network.
        setup: What its weights were trained with.
        form: The file's inputs and outputs.
        checks: Engines that were compared with PyTorch.
        source: The file of weights; None: the hash is that of the tensors in memory.
    """
    labels, (height, width) = setup.label_set, setup.size
    channels = {"image": setup.channels, "second": setup.bins}
    values = {"image": "RGB" if setup.channels == 3 else "grey", "second": setup.second}
    return {
        "format": FORMAT,
        "model": asdict(Architecture.of(model)),
        "source": _source(model, source),
        "opset": OPSET,
        "precision": precision_of(form),
        "written_for": form.engine,
        "inputs": [
            {
                "name": name,
                "shape": [form.batch, channels[name], height, width],
                "type": "float32",
                "values": f"{values[name]}{'' if values[name] == 'events' else ' in 0..1'}",
            }
            for name in form.input_names
        ],
        "outputs": _outputs(form, int(model.num_classes), height, width),  # type: ignore[arg-type]
        "preprocessing": setup.to_dict(),
        "labels": {
            "name": labels.name,
            "classes": list(labels.classes),
            "colors": [list(color) for color in labels.colors],
            "ignore": IGNORE,
        },
        "check": [{**asdict(check), "same": check.same} for check in checks],
        "torch": torch.__version__,
    }


def precision_of(form: ExportForm) -> str:
    """Return the name of the precision of a file's weights and features."""
    return "float16" if form.half else "float32"


def store(proto: Any, description: dict[str, Any]) -> None:
    """Put a description into a ModelProto's metadata, a key each, with JSON for its value."""
    del proto.metadata_props[:]
    for key, value in description.items():
        proto.metadata_props.add(key=key, value=json.dumps(value))


def _outputs(form: ExportForm, classes: int, height: int, width: int) -> list[dict[str, Any]]:
    if form.outputs == "logits":
        return [{"name": "logits", "shape": [form.batch, classes, height, width], "type": "float32"}]
    types = {"ids": "uint8", "confidence": "float32"}
    return [{"name": name, "shape": [form.batch, height, width], "type": kind} for name, kind in types.items()]


def _source(model: nn.Module, source: Path | None) -> dict[str, str]:
    if source is not None:
        return {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"file": "", "sha256": digest.hexdigest()}
