"""Stage `agree`: logits and masks on the device against float32 on the CPU, in each number format."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpu_stages.results import Run
from gpu_stages.street import Frame, drive, random_events, rig
from gpu_stages.subjects import Format, Size, cast, formats, make_network, networks, noise
from mambaseg_core import Segmenter
from mambaseg_core.precision import PRECISIONS

Inputs = tuple[Tensor | None, Tensor | None]


def agree(run: Run) -> None:
    """Compare all networks on noise, those with shipped weights on a rendered street too, and the masks made of it."""
    for name, size in networks(run.tiny):
        with run.part(f"{name} {size}"):
            model, weights = make_network(name, size)
            subjects = {"noise": noise(model)}
            if name.startswith("mambaseg") and weights != "random":
                frame = _street_frame(run.tiny)
                with run.part(f"masks of {name} {size}"):
                    _compare_masks(run, model, frame)
                segmenter = Segmenter(model, "cpu", calibration=rig(_view(run.tiny)))
                image, grid = segmenter.prepare(frame.image, frame.events)
                subjects["street"] = (image[None], grid[None])  # type: ignore[index]
            for what, pair in subjects.items():
                _compare_logits(run, model, name, size, weights, what, pair)


@torch.inference_mode()
def _compare_logits(run: Run, model: nn.Module, name: str, size: Size, weights: str, what: str, pair: Inputs) -> None:
    cases: dict[str, Inputs] = {"both": pair, "image only": (pair[0], None), "second only": (None, pair[1])}
    expected = {case: model(*inputs) for case, inputs in cases.items()}
    for form in formats(run.device):
        with run.part(f"{name} {size} {what} {form[0]}"), cast(model, form, run.device) as copy:
            for case, inputs in cases.items():
                got = _logits(copy, form, run.device, inputs)
                run.add(
                    model=name,
                    size=list(size),
                    weights=weights,
                    input=f"{what}, {case}",
                    format=form[0],
                    relative_error=float((got - expected[case]).norm() / expected[case].norm()),
                    same_class_percent=100 * float((got.argmax(1) == expected[case].argmax(1)).float().mean()),
                    finite=bool(got.isfinite().all()),
                )


def _logits(model: nn.Module, form: Format, device: str, inputs: Inputs) -> Tensor:
    logits: Tensor = model(*(None if x is None else x.to(device, form[1]) for x in inputs))
    return logits.float().cpu()


def _compare_masks(run: Run, model: nn.Module, frame: Frame) -> None:
    """Compare what `Segmenter` returns in each precision with its float32 mask on the CPU."""
    calibration = rig(_view(run.tiny))
    expected = Segmenter(model, "cpu", calibration=calibration).segment(frame.image, frame.events)
    for precision in PRECISIONS:
        if not run.on_gpu and precision not in ("float32", "bfloat16"):
            continue
        with run.part(f"masks in {precision}"):
            segmenter = Segmenter(model, run.device, precision=precision, calibration=calibration, warn=print)
            segmenter.warm_up()
            mask = segmenter.segment(frame.image, frame.events)
            run.add(
                table="masks of Segmenter on a rendered street",
                model=getattr(model, "name", ""),
                precision=precision,
                same_class_percent=100 * float((mask.ids == expected.ids).mean()),
                largest_difference_of_confidence=float(abs(mask.confidence - expected.confidence).max()),
            )


def _view(tiny: bool) -> Size:
    return (48, 64) if tiny else (480, 640)


def _street_frame(tiny: bool) -> Frame:
    """Return the third frame of a drive, in sunlight."""
    *_, last = drive(rig(_view(tiny)), frames=1 if tiny else 3, seed=1)
    if len(last.events):
        return last
    return Frame(last.image, random_events(_view(tiny), 1000, seed=0), last.labels)
