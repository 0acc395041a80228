"""An engine with one file loaded, and what that file says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from mambaseg_core.preprocessing import Preprocessing

FORMAT: Final = 1
"""Version of the description in exported files; a larger one may have other keys."""

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Run: TypeAlias = Callable[[Arrays], Arrays]


class UnfitFileError(ValueError):
    """A file that cannot be run here; the message is a sentence that goes on after the file's name."""


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself, as far as running it needs it.

    Attributes:
        model: Name of the network.
        classes: Classes of its masks.
        preprocessing: How its inputs are made.
        inputs: Shape [B, C, H, W] of each input, by name, in their order.
        outputs: Names of the outputs.
        precision: "float32", or "float16" for weights and features; inputs, outputs and scans are float32 always.
        values: All of it, plain values of JSON.
    """

    model: str
    classes: int
    preprocessing: Preprocessing
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    precision: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Description:
        """Check plain values.

        Raises:
            UnfitFileError: Something is missing, or a later version wrote it.
        """
        if not values:
            raise UnfitFileError(
                "has no description of its model and inputs in its metadata; expected a file of `mambaseg export`"
            )
        if (version := values.get("format")) != FORMAT:
            raise UnfitFileError(
                f"has a description of format {version!r}, where this mambaseg reads {FORMAT}: export it again"
            )
        try:
            return cls(
                str(values["model"]["name"]),
                int(values["model"]["num_classes"]),
                Preprocessing.from_dict(values["preprocessing"]),
                {entry["name"]: tuple(entry["shape"]) for entry in values["inputs"]},
                tuple(entry["name"] for entry in values["outputs"]),
                values["precision"],
                values,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnfitFileError(
                f"has a description that cannot be used ({type(error).__name__}: {error}): export it again"
            ) from error


@dataclass(frozen=True)
class Engine:
    """A loaded file.

    Attributes:
        name: A name of `engines.open.ENGINES`.
        version: That of the engine's library.
        provider: What of it computes, such as "CPUExecutionProvider" or "cuda:0".
        metadata: The file's description, plain values of JSON; empty where it has none.
        run: From the file's inputs by name to its outputs by name; one call at a time.
    """

    name: str
    version: str
    provider: str
    metadata: Mapping[str, Any]
    run: Run


def one_line(error: BaseException) -> str:
    """Return the first line of an engine's own error."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def as_json(text: str) -> Any:
    """Return a value of an ONNX file's metadata, which are JSON where the file is ours."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
