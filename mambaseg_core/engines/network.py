"""An exported file as a network: what `Segmenter`, evaluation and the node know of one."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from mambaseg_core.engines.engine import Description, Engine
from mambaseg_core.tracing import Answer


class EngineNetwork(nn.Module):
    """A file of `mambaseg export`, loaded in its engine. It has no weights that torch knows, and one image size.

    Args:
        engine: The loaded file.
        description: What the file says of itself.
    """

    any_size = False

    def __init__(self, engine: Engine, description: Description) -> None:
        super().__init__()
        self.engine, self.description = engine, description
        self.preprocessing = description.preprocessing
        self.name = description.model
        self.num_classes = description.classes
        self.image_size: tuple[int, int] = description.preprocessing.size
        self.in_channels, self.bins = self.preprocessing.channels, self.preprocessing.bins
        self._one_at_a_time = threading.Lock()

    def remarks(self) -> list[str]:
        """Return what a user of the file should know, as sentences without its name."""
        found = []
        if len(self.description.inputs) == 1:
            (taken,) = self.description.inputs
            left_out = self.preprocessing.second if taken == "image" else "images"
            found.append(f"takes the input {taken!r} only, so its masks do not depend on {left_out}")
        if (batch := self._batch) > 1:
            found.append(f"takes {batch} frames in one call, so a single mask costs what {batch} do: use --batch 1")
        return found

    @property
    def gives_logits(self) -> bool:
        """Whether the file's output are logits, not masks."""
        return self.description.outputs == ("logits",)

    @property
    def _batch(self) -> int:
        return next(iter(self.description.inputs.values()))[0]

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        """Map image [B, C, h, w] and second input [B, T, h, w] to logits, float32 [B, K, h, w]; None stands for zeros.

        Raises:
            ValueError: The file gives masks, has another size, or takes none of the inputs.
        """
        if not self.gives_logits:
            raise ValueError("the exported file gives masks, expected logits: export it with --outputs logits")
        return self._run(image, second)["logits"]

    def ids(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        """Map inputs as of `forward` to class ids, int64 [B, h, w].

        Raises:
            ValueError: The file has another size, or takes none of the inputs.
        """
        return self._mask(image, second)[0].long()

    def answer(self, image: Tensor | None, second: Tensor | None) -> Answer:
        """Return the mask of one frame from image [C, h, w] and second input [T, h, w], or one of them.

        Raises:
            ValueError: The file has another size, or takes none of the inputs.
        """
        ids, confidence = self._mask(*(None if x is None else x[None] for x in (image, second)))
        finite = confidence.isfinite().all()  # softmax is not where a logit is not
        return Answer(ids[0].to(torch.uint8), confidence[0], finite.float()[None])

    def _mask(self, image: Tensor | None, second: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs = self._run(image, second)
        if not self.gives_logits:
            return outputs["ids"], outputs["confidence"]
        confidence, ids = outputs["logits"].softmax(1).max(1)
        return ids, confidence

    def _run(self, image: Tensor | None, second: Tensor | None) -> dict[str, Tensor]:
        """Run frames in calls of the file's batch, the last one filled up with its own first frame."""
        given = {"image": image, "second": second}
        taken = {name: given[name] for name in self.description.inputs}
        rows = next((len(x) for x in taken.values() if x is not None), 0)
        if not rows:
            wanted = " or ".join(taken)
            raise ValueError(f"neither input is one that the exported file takes; expected {wanted}: pass it")
        calls = []
        for start in range(0, rows, self._batch):
            numbers = [min(number, rows - 1) for number in range(start, start + self._batch)]
            inputs = {name: self._input(name, x, numbers) for name, x in taken.items()}
            with self._one_at_a_time:
                outputs = self.engine.run({name: x.numpy() for name, x in inputs.items()})
            calls.append({name: torch.from_numpy(value) for name, value in outputs.items()})
        return {name: torch.cat([outputs[name] for outputs in calls])[:rows] for name in self.description.outputs}

    def _input(self, name: str, given: Tensor | None, numbers: list[int]) -> Tensor:
        shape = self.description.inputs[name]
        if given is None:
            return torch.zeros(shape)
        if given.shape[1:] != shape[1:]:
            raise ValueError(
                f"the exported file takes {name!r} of {list(shape[1:])}, but got {list(given.shape[1:])}; expected "
                "that size: use its own preprocessing, or export it with --size"
            )
        return given[numbers].float().contiguous()
