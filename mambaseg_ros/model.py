"""From the node's parameters to a `Segmenter` that is ready to run."""

from __future__ import annotations

import gc
import hashlib
import resource
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mambaseg_core import graphs
from mambaseg_core.cameras import calibration_files, camera_info
from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.checkpoint import (
    Architecture,
    create_model,
    load_checkpoint,
    names_model,
    shipped_weights,
    weights_file,
)
from mambaseg_core.engines.network import EngineNetwork
from mambaseg_core.engines.open import is_exported
from mambaseg_core.events.array import BYTES_PER_EVENT
from mambaseg_core.inference import Segmenter
from mambaseg_core.memory import give_back_memory
from mambaseg_core.ops import selection
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_ros.cores import choose_threads, too_many, use_threads
from mambaseg_ros.parameters import RANDOM, Parameters
from mambaseg_ros.pipeline.region import read_region

MIB = 1 << 20
LEAST_MASK_RATE_HZ = 0.1  # of masks between images; with fewer the node seems dead
CAMERA_INFO = "camera_info"  # the value of `calibration` that asks for two topics instead of a file
CAVEATS = {  # by the weights' name, what a user must know of them
    RANDOM: "random weights: its masks mean nothing",
    "synthetic": "weights that were trained on synthetic drives only: they show that everything works, not how well it "
    "works on your road",
}

LOOK_ONE_WAY = (  # of a pair of camera_info
    "R of both camera_info is the identity, so that both cameras are taken to look in one direction; expected the R of "
    "one stereo calibration, unless the cameras share a beam splitter: calibrate them as a pair"
)


_LOADING = threading.Lock()
_LOADED: dict[tuple[Any, ...], weakref.WeakSet[Segmenter]] = {}  # by what the model depends on


def make_segmenter(parameters: Parameters, warn: Callable[[str], Any], *, spare_cores: int = 1) -> Segmenter:
    """Load the model that the parameters describe and run it once. Nodes of one process share a model.

    Args:
        parameters: of the node.
        warn: called with one sentence if the weights are random or ship with the package, one if the precision makes
            this machine slower, one if a pair of camera_info was not calibrated as a pair, and one if there are more
            threads than cores.
        spare_cores: that parameter `threads` leaves to others where it is 0.

    Raises:
        ValueError: a name, size, device or file that does not fit; one sentence.
    """
    calibration, weights = _read_calibration(parameters.calibration, warn), weights_path(parameters)
    if caveat := CAVEATS.get(weights_name(parameters)):
        warn(f"{parameters.model} has {caveat}; set parameter 'weights' to a checkpoint of your own")
    if sentence := too_many(use_threads(parameters.threads, spare_cores)):
        warn(sentence)
    of_file = None if weights is None or not weights.exists() else (weights.stat().st_mtime_ns, weights.stat().st_size)
    size, device, precision = _image_size(parameters), parameters.device, parameters.precision
    key = parameters.model, weights, of_file, parameters.engine, size, device, precision, bool(parameters.roi)
    with _LOADING:
        for loaded in _LOADED.setdefault(key, weakref.WeakSet()):
            _check_views(parameters, loaded.preprocessing)
            segmenter = loaded.for_camera(calibration)
            break
        else:
            segmenter = _load_segmenter(parameters, weights, size, calibration, warn)
        _LOADED[key].add(segmenter)
    return segmenter


def _load_segmenter(
    parameters: Parameters,
    weights: Path | None,
    size: tuple[int, int] | None,
    calibration: Calibration | None,
    warn: Callable[[str], Any],
) -> Segmenter:
    model: nn.Module | Path
    if weights is not None and is_exported(weights):
        model = weights
    elif weights is None or not names_model(weights):
        torch.manual_seed(0)
        model = create_model(parameters.model, image_size=size, weights=weights, warn=warn)
    else:
        model, _ = load_checkpoint(weights, image_size=size)
    segmenter = Segmenter(
        model,
        parameters.device,
        precision=parameters.precision,
        calibration=calibration,
        engine=parameters.engine,
        warn=warn,
    )
    if size not in (None, segmenter.preprocessing.size):
        height, width = segmenter.preprocessing.size
        raise ValueError(
            f"image_height is {size[0]} and image_width is {size[1]}, but {weights} takes {height}x{width} only; "
            f"expected both 0: clear them, or export the model again with --size {size[0]}x{size[1]}"
        )
    _check_views(parameters, segmenter.preprocessing)
    if read_region(parameters.roi) is not None:
        segmenter.preprocessing = replace(segmenter.preprocessing, crop_bottom=0)  # the region says what is cropped
    segmenter.warm_up()
    return segmenter


def _check_views(parameters: Parameters, setup: Preprocessing) -> None:
    if setup.second != "events" and parameters.calibration:
        raise ValueError(
            f"parameter 'calibration' is {parameters.calibration!r}, but {setup.second} images are taken as "
            "registered to the image; expected it empty: register them, and clear it"
        )
    if read_region(parameters.roi) is not None and parameters.calibration:
        raise ValueError(
            f"parameter 'roi' is {parameters.roi!r} and 'calibration' is {parameters.calibration!r}; expected one "
            "of them empty: with a calibration the model sees the event camera's view, not a part of the image"
        )


def _read_calibration(text: str, warn: Callable[[str], Any]) -> Calibration | None:
    if text in ("", CAMERA_INFO):
        return None
    calibration = calibration_files.read(text)
    if not Path(text).is_file() and camera_info.look_one_way(calibration):  # of two files
        warn(LOOK_ONE_WAY)
    return calibration


def check_reach(parameters: Parameters, setup: Preprocessing) -> None:
    """Refuse a buffer smaller than the window: it would give other tensors than training, in silence.

    Raises:
        ValueError: `buffer_mib` or `buffer_ms` is too small for the window, or masks between images are asked for
            without events or hardly ever; one sentence.
    """
    if 0 < parameters.mask_rate_hz < LEAST_MASK_RATE_HZ:
        raise ValueError(
            f"parameter 'mask_rate_hz' is {parameters.mask_rate_hz:g}; expected at least {LEAST_MASK_RATE_HZ:g}, or 0 "
            "for one mask for each image: raise it"
        )
    if setup.second != "events":
        if parameters.mask_rate_hz:
            raise ValueError(
                f"parameter 'mask_rate_hz' is {parameters.mask_rate_hz:g}, but the second input is {setup.second} "
                "images; expected 0: only events tell what happens between two images, so clear it"
            )
        needed_ms = parameters.events_stale_ms + parameters.event_wait_ms
        if parameters.buffer_ms < needed_ms:
            raise ValueError(
                f"parameter 'buffer_ms' is {parameters.buffer_ms:g}; expected at least {needed_ms:g}, events_stale_ms "
                "and event_wait_ms: raise it"
            )
        return
    events = setup.window.limit(setup.bins) or 0
    if parameters.buffer_bytes < 2 * events * BYTES_PER_EVENT:
        raise ValueError(
            f"parameter 'buffer_mib' is {parameters.buffer_mib}; expected at least "
            f"{2 * events * BYTES_PER_EVENT // MIB + 1}, twice the model's window of {events} events: raise it"
        )
    needed_ms = -setup.window.start_ns(0, setup.bins) / 1e6 + parameters.event_wait_ms
    if parameters.buffer_ms < needed_ms:
        raise ValueError(
            f"parameter 'buffer_ms' is {parameters.buffer_ms:g}; expected at least {needed_ms:g}, the model's window "
            "and event_wait_ms: raise it"
        )


def describe(segmenter: Segmenter, parameters: Parameters) -> dict[str, str]:
    """Return what runs and where, as /diagnostics shows it."""
    config = Architecture.of(segmenter.model)
    view = segmenter.calibration
    unseen = segmenter.preprocessing.unseen_rows(None if view is None else view.event_size[0])
    return {
        "model": config.name,
        "input [rows x columns]": f"{segmenter.preprocessing.size[0]} x {segmenter.preprocessing.size[1]}",
        **({"not segmented": unseen} if unseen else {}),
        "second input": segmenter.preprocessing.second,
        "weights": weights_name(parameters),
        "weights sha256": weights_hash(parameters),
        "device": str(segmenter.device),
        **_engine(segmenter),
        "precision": segmenter.precision,
        "threads": str(choose_threads(parameters.threads)),
        **({"warning": segmenter.warning} if segmenter.warning else {}),
        **({"caveat": caveat} if (caveat := CAVEATS.get(weights_name(parameters))) else {}),
    }


def _engine(segmenter: Segmenter) -> dict[str, str]:
    """Return what runs the model, and where."""
    if isinstance(segmenter.model, EngineNetwork):
        engine = segmenter.model.engine
        return {"engine": engine.name, "engine version": engine.version, "provider": engine.provider}
    backend, reason = selection.explain(segmenter.device)
    shown = {"engine": "torch", "engine version": torch.__version__, "back end": backend}
    return shown | ({"why no better back end": reason} if reason else {})


def active_line(shown: Mapping[str, str]) -> str:
    """Return the line that the log holds at each activation, from what `describe` returned and the "load time [s]"."""
    sha256 = shown["weights sha256"][:12]
    weights = f"{shown['weights']} (sha256 {sha256}...)" if sha256 else shown["weights"]
    threads = "1 thread" if shown["threads"] == "1" else f"{shown['threads']} threads"
    unseen = f"; masks are 255 in the {shown['not segmented']}, as in training" if "not segmented" in shown else ""
    place = f"{shown['engine']} ({shown['provider']})" if "provider" in shown else shown["device"]
    return (
        f"active: model {shown['model']}, weights {weights}, {place}, {shown['precision']}, "
        f"{threads}, loaded in {shown['load time [s]']} s{unseen}"
    )


def memory(device: torch.device) -> dict[str, str]:
    """Return the memory of this process now, MiB: its own, and torch's on the device where the model runs."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    used = {"memory [MiB]": f"{pages * resource.getpagesize() / MIB:.0f}"}
    if device.type == "cuda":
        used["GPU memory [MiB]"] = f"{torch.cuda.memory_allocated(device) / MIB:.0f}"
    return used


def free_memory() -> None:
    """Give back what a deleted model held, on the GPU too."""
    gc.collect()
    give_back_memory()
    graphs.empty_cache()  # of all GPUs; nothing where none was used


def weights_name(parameters: Parameters) -> str:
    """Return what parameter `weights` says; where it is empty, the name of the weights that ship with the model.

    Raises:
        ValueError: it is empty and none ship with the model, or there is no such model.
    """
    name, model = parameters.weights, parameters.model
    shipped = [name] if name else shipped_weights(model)
    if not shipped:
        raise ValueError(
            f"parameter 'weights' is empty and no weights ship with model {model!r}; expected a file: "
            "set weights to the path of a checkpoint, or to random for a trial whose masks mean nothing"
        )
    return shipped[0]


def weights_path(parameters: Parameters) -> Path | None:
    """Return the file of the weights, which may be one that ships with the model; None where they are random.

    Raises:
        ValueError: as of `weights_name`, or a name of no weights that ship.
    """
    name = weights_name(parameters)
    return None if name == RANDOM else weights_file(parameters.model, name)


def weights_hash(parameters: Parameters) -> str:
    """Return the SHA-256 of the file of weights; empty where they are random."""
    path = weights_path(parameters)
    if path is None:
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def _image_size(parameters: Parameters) -> tuple[int, int] | None:
    height, width = parameters.image_height, parameters.image_width
    if height == 0 and width == 0:
        return None
    if height == 0 or width == 0:
        raise ValueError(
            f"image_height is {height} and image_width is {width}; expected both 0 or both above 0: set both"
        )
    return height, width
