"""The names that other projects call."""

from __future__ import annotations

import inspect

import mambaseg_core as mc


def test_the_public_names_are_there() -> None:
    for name in ("list_models", "create_model", "load_released_state_dict", "profile_model", "voxel_grid", "decode"):
        assert callable(getattr(mc, name)), name
    assert callable(mc.ops.selective_scan)
    assert "reference" in mc.ops.backends()
    assert {"mambaseg_ddd17", "mambaseg_dsec"} <= set(mc.list_models())


def test_their_arguments_are_those_promised() -> None:
    def arguments(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert arguments(mc.create_model)[:5] == ["name", "num_classes", "image_size", "in_channels", "weights"]
    assert arguments(mc.voxel_grid) == ["events", "bins", "mode", "edges_ns", "out"]
    scan = ["u", "delta", "A", "B", "C", "D", "delta_bias", "delta_softplus", "backend"]
    assert arguments(mc.ops.selective_scan) == scan
    assert arguments(mc.Events.from_arrays) == ["x", "y", "t_ns", "p", "height", "width"]
    assert arguments(mc.decode) == ["encoding", "data", "height", "width", "time_base_ns"]
    assert arguments(mc.Segmenter)[:2] == ["model_or_checkpoint", "device"]
