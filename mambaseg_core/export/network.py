"""A whole network as an ONNX model: the inputs that it gets, the outputs that it gives, its scans lowered."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from mambaseg_core.engines.packages import need
from mambaseg_core.export.lowering import lower
from mambaseg_core.export.symbols import with_symbols
from mambaseg_core.export.translations import translations
from mambaseg_core.models.presets import Network
from mambaseg_core.models.released.unit_inputs import with_unit_inputs
from mambaseg_core.precision import lowered

OPSET: Final = 20
INPUTS: Final = {"both": ("image", "second"), "image": ("image",), "second": ("second",)}
"""Names of the inputs of a file, by what it is for."""
OUTPUTS: Final = {"logits": ("logits",), "mask": ("ids", "confidence")}
"""Names of the outputs of a file."""
_TORCH: Final = (2, 8)  # the first with `torch.onnx.ops.symbolic`
ENGINES: Final = ("onnxruntime", "openvino", "tensorrt")


@dataclass(frozen=True)
class ExportForm:
    """What an exported file takes and gives; sizes are fixed.

    Attributes:
        inputs: A name of `INPUTS`; a missing input is zeros inside.
        outputs: A name of `OUTPUTS`: logits float32 [B, K, H, W], or class ids uint8 [B, H, W] and their softmax
            probability float32 [B, H, W].
        batch: B.
        half: Whether weights and features are float16; inputs, outputs and scans are float32 in any case.
        engine: One of `ENGINES`, which the file is written for; any of them runs it.

    Raises:
        ValueError: A name is unknown, or the batch is not positive.
    """

    inputs: str = "both"
    outputs: str = "logits"
    batch: int = 1
    half: bool = False
    engine: str = "onnxruntime"

    def __post_init__(self) -> None:
        known = {"inputs": tuple(INPUTS), "outputs": tuple(OUTPUTS), "engine": ENGINES}
        for name, values in known.items():
            if (got := getattr(self, name)) not in values:
                raise ValueError(f"{name} is {got!r}; expected one of {', '.join(values)}")
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}; expected 1 or more: give a positive whole number")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in their order."""
        return INPUTS[self.inputs]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return OUTPUTS[self.outputs]

    @property
    def softplus_operator(self) -> bool:
        """Whether softplus is one operator: slow in ONNX Runtime, and inexact in OpenVINO."""
        return self.engine == "tensorrt"


class ExportedNetwork(nn.Module):
    """A network with the inputs and outputs of a file, in PyTorch.

    Args:
        model: The network, in any dtype; None of its inputs stands for zeros.
        form: Inputs and outputs; `half` is not looked at.
    """

    def __init__(self, model: nn.Module, form: ExportForm) -> None:
        super().__init__()
        self.model = model
        self.form = form
        self.dtype = next(model.parameters()).dtype

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map the inputs, float32 [B, C, H, W] each, to the logits, or to class ids and confidence."""
        given = dict(zip(self.form.input_names, (x.to(self.dtype) for x in inputs), strict=True))
        logits: Tensor = self.model(given.get("image"), given.get("second")).float()
        if self.form.outputs == "logits":
            return logits
        confidence, ids = logits.softmax(1).max(1)
        if self.form.engine == "tensorrt":  # which casts floats only to bytes
            ids = ids.float()
        return ids.to(torch.uint8), confidence


def to_onnx(model: Network, form: ExportForm) -> Any:
    """Return a network as an ONNX ModelProto of standard operators.

    Args:
        model: A network of `create_model`, on the CPU in float32; it is not changed.
        form: Inputs, outputs and engine.

    Raises:
        ValueError: A package is missing, or torch is too old.
    """
    need_torch()
    for package in ("onnx", "onnxscript"):
        need(package)
    network = with_unit_inputs(model)
    if form.half:
        network = lowered(network, torch.float16, torch.device("cpu"))
    exported = ExportedNetwork(with_symbols(network), form).eval()
    with torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            exported,
            example_inputs(model, form),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(form.input_names),
            output_names=list(form.output_names),
            custom_translation_table=translations(),
            verbose=False,
        )
    proto = program.model_proto
    lower(proto, softplus_operator=form.softplus_operator)
    onnx = need("onnx")
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def need_torch() -> None:
    """Raise ValueError where torch is older than the export."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _TORCH:
        raise ValueError(
            f"torch is {torch.__version__}; an export expects {_TORCH[0]}.{_TORCH[1]} or later: install a newer torch "
            "to export with (the file runs without torch)"
        )


def example_inputs(model: Network, form: ExportForm) -> tuple[Tensor, ...]:
    """Return zeros of the sizes of a file's inputs."""
    channels = {"image": model.in_channels, "second": model.bins}
    return tuple(torch.zeros(form.batch, channels[name], *model.image_size) for name in form.input_names)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's reports to itself: they are for its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
