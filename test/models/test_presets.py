"""Every network's contract, and how networks are created by name."""

from __future__ import annotations

from inspect import signature

import pytest
import torch

from mambaseg_core.checkpoint import create_model, load_checkpoint, save_checkpoint
from mambaseg_core.models import list_models, presets
from mambaseg_core.models.presets import PRESETS, Preset, register

SMALL = (40, 56)  # feature maps 10x14, 5x7, 3x4, 2x2
PARAMETERS = {
    "mambaseg_ddd17": 97_548_766,
    "mambaseg_dsec": 256_181_331,
    "mambaseg_compact": 25_261_495,
    "mambaseg_nano": 3_670_903,
    "sigma_tiny": 48_287_360,
    "sigma_small": 69_811_328,
    "sigma_base": 121_414_820,
    "sigma_nano": 4_226_514,
    "rsgmamba": 45_218_840,
    "rsgmamba_nano": 3_937_034,
}
DEFAULTS = {
    "mambaseg_ddd17": (6, (200, 346), 1, 10),
    "mambaseg_dsec": (11, (440, 640), 3, 10),
    "mambaseg_compact": (11, (440, 640), 3, 10),
    "mambaseg_nano": (11, (240, 320), 3, 10),
    "sigma_tiny": (9, (480, 640), 3, 3),
    "sigma_small": (9, (480, 640), 3, 3),
    "sigma_base": (9, (480, 640), 3, 3),
    "sigma_nano": (9, (240, 320), 3, 3),
    "rsgmamba": (9, (480, 640), 3, 3),
    "rsgmamba_nano": (9, (240, 320), 3, 3),
}
ONLY_LARGER = {"sigma_small", "sigma_base"}  # sigma_tiny with other sizes: built without memory only
COMPUTED = [name for name in list_models() if name not in ONLY_LARGER]
ANY_SIZE = ["mambaseg_compact", "mambaseg_nano", "sigma_tiny", "sigma_nano", "rsgmamba", "rsgmamba_nano"]
SIZES = (40, 56), (240, 320)
WIDTHS = {
    "mambaseg_ddd17": (96, 192, 384, 768),
    "mambaseg_dsec": (96, 192, 384, 768),
    "mambaseg_compact": (96, 192, 256, 320),
    "mambaseg_nano": (32, 64, 128, 192),
    "sigma_tiny": (96, 192, 384, 768),
    "sigma_nano": (32, 64, 128, 256),
    "rsgmamba": (96, 192, 384, 768),
    "rsgmamba_nano": (32, 64, 128, 256),
}


@pytest.fixture(scope="module", params=COMPUTED)
def model(request):
    torch.manual_seed(0)
    return create_model(request.param, image_size=SMALL).eval()


def inputs_of(model, batch=2):
    return (
        torch.rand(batch, model.in_channels, *model.image_size),
        torch.randn(batch, model.bins, *model.image_size),
    )


def test_shape_and_finite(model):
    with torch.inference_mode():
        logits = model(*inputs_of(model))
        features = model.features(*inputs_of(model))
    assert logits.shape == (2, model.num_classes, *SMALL)
    assert logits.isfinite().all()
    assert [tuple(x.shape[:3]) for x in features] == [(2, 10, 14), (2, 5, 7), (2, 3, 4), (2, 2, 2)]
    assert tuple(x.shape[3] for x in features) == WIDTHS[model.name]


def test_a_sample_does_not_depend_on_its_batch(model):
    image, second = inputs_of(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(image, second)[1:], model(image[1:], second[1:]), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient(model):
    model.zero_grad(set_to_none=True)
    model(*inputs_of(model, batch=1)).square().mean().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    wild = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    model.zero_grad(set_to_none=True)
    assert not without
    assert not wild


def test_training_mode_drops_at_random_and_counts_batches():
    torch.manual_seed(0)
    model = create_model("mambaseg_ddd17", image_size=(32, 32)).train()
    inputs = inputs_of(model)
    with torch.no_grad():
        first, second = model(*inputs), model(*inputs)
    assert first.isfinite().all()
    assert not torch.equal(first, second)
    assert model.head.norm.num_batches_tracked == 2


def test_state_dict_round_trip(model):
    torch.manual_seed(1)
    other = create_model(model.name, image_size=SMALL).eval()
    image, second = inputs_of(model, batch=1)
    with torch.inference_mode():
        assert not torch.equal(other(image, second), model(image, second))
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(other(image, second), model(image, second), rtol=0, atol=0)


def test_state_dict_is_contiguous(model):
    assert all(x.is_contiguous() for x in model.state_dict().values())  # safetensors refuses others


@pytest.mark.parametrize(
    ("which", "shape", "match"),
    [
        ("image", lambda m: (1, m.in_channels, 48, 56), r"image has shape \[1, \d, 48, 56\].*40, 56\]"),
        ("image", lambda m: (1, m.in_channels, 0, 56), r"image has shape \[1, \d, 0, 56\].*expects"),
        ("image", lambda m: (1, 2, *SMALL), r"image has shape \[1, 2, 40, 56\].*expects \[B, [13], (40, 56|H, W)\]"),
        ("second", lambda m: (1, 5, *SMALL), r"second has shape \[1, 5, 40, 56\].*\[B, (10|3), (40, 56|H, W)\]"),
        ("second", lambda m: (m.bins, *SMALL), r"second has shape \[\d+, 40, 56\].*create_model"),
        ("second", lambda m: (2, m.bins, *SMALL), r"batch size 1 and second 2"),
    ],
)
def test_a_bad_size_is_refused(model, which, shape, match):
    image, second = inputs_of(model, batch=1)
    given = {"image": image, "second": second, which: torch.zeros(shape(model))}
    with pytest.raises(ValueError, match=match):
        model(**given)


def test_every_network_names_its_inputs_alike(model):
    methods = [name for name in ("forward", "features", "reliability", "with_reliability") if hasattr(model, name)]
    assert methods[:2] == ["forward", "features"]
    for name in methods:
        assert list(signature(getattr(model, name)).parameters) == ["image", "second"], name


def test_a_missing_input_is_zeros(model):
    image, second = inputs_of(model)
    with torch.inference_mode():
        assert torch.equal(model(image, None), model(image, torch.zeros_like(second)))
        assert torch.equal(model(None, second), model(torch.zeros_like(image), second))
        assert not torch.equal(model(image, None), model(image, second))


def test_two_missing_inputs_are_refused(model):
    with pytest.raises(ValueError, match=f"image and second are both None; {model.name} expects at least one"):
        model(None, None)


@pytest.mark.parametrize("size", [(37, 53), (4, 5)])
def test_any_image_size(model, size):
    if not model.any_size:
        pytest.skip(f"{model.name} is bound to its image size")
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, *size), torch.randn(1, model.bins, *size))
    assert logits.shape == (1, model.num_classes, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_weights_of_any_size_depend_on_none(name, on_meta):
    shapes = [{key: x.shape for key, x in on_meta(name, image_size=size).state_dict().items()} for size in SIZES]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", list_models())
def test_the_presets_sizes(name, on_meta):
    model = on_meta(name)
    assert (model.num_classes, model.image_size, model.in_channels, model.bins) == DEFAULTS[name]
    assert model.name == name
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    row = PRESETS[name]
    setup = row.preprocessing
    assert (len(setup.label_set.classes), setup.channels, setup.bins) == DEFAULTS[name][::2] + DEFAULTS[name][3:]
    assert all(path.is_file() for path in row.shipped.values())


@pytest.mark.parametrize("name", list_models())
def test_numbers_can_be_chosen(name, on_meta):
    model = on_meta(name, num_classes=19, image_size=[33, 65], in_channels=4)
    assert (model.num_classes, model.image_size, model.in_channels) == (19, (33, 65), 4)
    logits = model(torch.empty(1, 4, 33, 65, device="meta"), torch.empty(1, model.bins, 33, 65, device="meta"))
    assert logits.shape == (1, 19, 33, 65)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"'mambaseg_kitti'.*mambaseg_ddd17, mambaseg_dsec"):
        create_model("mambaseg_kitti")


@pytest.mark.parametrize(
    "numbers",
    [
        {"num_classes": 0},
        {"image_size": (200,)},
        {"image_size": (200, 0)},
        {"image_size": 200},
        {"in_channels": 1.5},
    ],
)
def test_a_bad_number_is_named(numbers):
    (key,) = numbers
    with pytest.raises(ValueError, match=f"{key}=.*expected"):
        create_model("mambaseg_ddd17", **numbers)


@pytest.mark.slow
def test_a_network_compiles_in_one_graph_and_exports():
    torch.manual_seed(0)
    model = create_model("mambaseg_ddd17", image_size=SMALL).eval()
    inputs = inputs_of(model, batch=1)
    with torch.no_grad():
        expected = model(*inputs)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(*inputs)
        exported = torch.export.export(model, inputs).module()(*inputs)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5)


def test_a_network_of_ones_own_has_a_name_in_checkpoints_too(tmp_path, monkeypatch):
    def make(**numbers):
        model = PRESETS["mambaseg_nano"].make(**numbers)
        model.name = "mine"
        return model

    monkeypatch.setattr(presets, "PRESETS", dict(PRESETS))
    own = Preset(make, PRESETS["mambaseg_nano"].preprocessing)
    with pytest.raises(ValueError, match="unknown model 'mine'"):
        create_model("mine")
    register("mine", own)
    register("mine", own)
    assert list_models()[-1] == "mine"
    save_checkpoint(tmp_path / "own.safetensors", create_model("mine", image_size=SMALL))
    model, setup = load_checkpoint(tmp_path / "own.safetensors")
    assert (model.name, setup.size) == ("mine", SMALL)
    for name in ("mine", "mambaseg_nano"):
        with pytest.raises(ValueError, match=f"the name '{name}' belongs to another model; expected a new name"):
            register(name, Preset(make, own.preprocessing))
