"""Recipes, plans and the arithmetic of quantized layers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arcmobile.quality.measure import log_spectral_distance
from arcmobile.quant.layers import quantize_layers, quantize_per_channel
from arcmobile.quant.plan import check_size, expected_bytes, least_bytes, plan_layers
from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import DEFAULT_RECIPE, RECIPES, Part, Recipe, get_recipe
from arcmobile.runtime.errors import ExportError, InputError

WIDTH = 96


def snr(reference: Tensor, other: Tensor) -> float:
    reference = reference.detach()
    noise = (reference.double() - other.double()).square().sum().clamp_min(1e-30)
    return float(10 * torch.log10(reference.double().square().sum() / noise))


def convolution(kind: str) -> tuple[nn.Module, Tensor]:
    """A convolution and an input for it."""
    flat = {
        "dilated": lambda: nn.Conv1d(16, 24, 7, padding=9, dilation=3),
        "pointwise": lambda: nn.Conv1d(16, 24, 1),
        "strided": lambda: nn.Conv1d(16, 24, 8, stride=4, padding=2),
        "odd-strided": lambda: nn.Conv1d(16, 24, 10, stride=5, padding=3),
        "transposed": lambda: nn.ConvTranspose1d(16, 24, 8, stride=4, padding=2),
        "odd-transposed": lambda: nn.ConvTranspose1d(
            16, 24, 10, stride=5, padding=3, output_padding=1
        ),
        "overlong-transposed": lambda: nn.ConvTranspose1d(16, 24, 6, stride=3, output_padding=2),
    }
    name, _, rank = kind.partition("/")
    layer = flat[name]()
    x = torch.randn(1, 16, 45)
    if rank == "1d":
        return layer, x
    twin = nn.ConvTranspose2d if layer.transposed else nn.Conv2d
    options = {"output_padding": (0, *layer.output_padding)} if layer.transposed else {}
    deep = twin(
        16,
        24,
        (1, *layer.kernel_size),
        stride=(1, *layer.stride),
        padding=(0, *layer.padding),
        dilation=(1, *layer.dilation),
        **options,
    )
    return deep, x[:, :, None]


CONVOLUTIONS = [
    f"{name}/{rank}"
    for name in (
        "dilated",
        "pointwise",
        "strided",
        "odd-strided",
        "transposed",
        "odd-transposed",
        "overlong-transposed",
    )
    for rank in ("1d", "2d")
]


def quantized(layer: nn.Module, precision: Precision) -> nn.Module:
    return quantize_layers(copy.deepcopy(layer), {"": precision})


def test_every_recipe_covers_every_part() -> None:
    assert {"fp32", "fp16", "int8-dynamic", "int8-weight-only", "mobile"} <= set(RECIPES)
    assert get_recipe(DEFAULT_RECIPE).name == "mobile"
    for recipe in RECIPES.values():
        assert set(recipe.precisions) == set(Part)


def test_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'int2'.*fp32.*mobile"):
        get_recipe("int2")


def test_incomplete_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="decoder"):
        Recipe("half-done", "", {p: Precision.FP32 for p in Part if p is not Part.DECODER})


class TwoParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = nn.Module()
        self.text.embedding = nn.Embedding(50, WIDTH)
        self.text.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.head = nn.Conv1d(WIDTH, 8, 3)
        self.gain = nn.Parameter(torch.ones(WIDTH))


PARTS = {
    "text": Part.TEXT_ENCODER,
    "text.embedding": Part.TEXT_EMBEDDING,
    "head": Part.DECODER,
}


def test_plan_takes_the_longest_prefix_and_keeps_layers_float() -> None:
    recipe = Recipe(
        "test",
        "",
        dict.fromkeys(Part, Precision.INT8_DYNAMIC) | {Part.DECODER: Precision.FP16},
        keep_float=("text_encoder:*.1",),
    )
    assert plan_layers(TwoParts(), PARTS, recipe) == {
        "text.embedding": Precision.INT8_WEIGHT_ONLY,
        "text.layers.0": Precision.INT8_DYNAMIC,
        "text.layers.1": Precision.FP32,
        "head": Precision.FP16,
    }
    with pytest.raises(ValueError, match="head"):
        plan_layers(TwoParts(), {"text": Part.DIT}, recipe)


def test_expected_bytes_follow_the_plan_and_need_no_weights() -> None:
    with torch.device("meta"):
        module = TwoParts()
    plan = plan_layers(module, PARTS, get_recipe("int8-dynamic"))
    table = 50 * WIDTH + 50 * 4
    linears = 2 * (WIDTH * WIDTH + WIDTH * 4 + WIDTH * 4)
    head = 8 * WIDTH * 3 + 8 * 4 + 8 * 4
    assert expected_bytes(module, plan) == table + linears + head + WIDTH * 4


def test_tied_weights_count_once() -> None:
    module = TwoParts()
    module.text.layers[1].weight = module.text.layers[0].weight
    plan = plan_layers(module, PARTS, get_recipe("fp32"))
    assert expected_bytes(module, plan) == sum(p.numel() * 4 for p in module.parameters())


def test_weights_stored_as_float_fail_the_size_check() -> None:
    check_size("dit.pte", 101_000_000, 100_000_000, 100_000_000)
    for size in (400_000_000, 50_000_000):
        with pytest.raises(ExportError, match=rf"dit\.pte.*{size / 1e6:.1f} MB.*100\.0 MB"):
            check_size("dit.pte", size, 100_000_000, 100_000_000)


@pytest.mark.parametrize("precision", list(Precision))
def test_equal_weights_may_be_stored_once(precision: Precision) -> None:
    layers = [nn.Linear(256, 512), nn.Linear(256, 512), nn.Conv1d(64, 64, 7), nn.Conv1d(64, 64, 7)]
    plan = {str(index): precision for index in range(len(layers))}
    single = (256 * 512 + 64 * 64 * 7) * precision.weight_bytes
    assert least_bytes(nn.Sequential(*layers), plan) == 2 * single
    scale = 4 if precision.scale_bytes else 1  # equal codes behind other scales
    with torch.no_grad():
        layers[1].weight.copy_(layers[0].weight * scale)
        layers[3].weight.copy_(layers[2].weight * scale)
    assert least_bytes(nn.Sequential(*layers), plan) == single
    with torch.no_grad():
        layers[2].weight.copy_(layers[2].weight[..., :1].expand(-1, -1, 7))
        layers[3].weight.zero_()
    once = (256 * 512 + 64 * 64) * precision.weight_bytes
    assert least_bytes(nn.Sequential(*layers), plan) == once


def test_per_channel_codes_round_to_nearest_and_survive_empty_channels() -> None:
    weight = torch.randn(6, 4, 1, 5)
    weight[:, 2] = 0
    codes, scale = quantize_per_channel(weight, axis=1)
    assert codes.dtype == torch.int8
    assert codes.abs().max() == 127
    assert scale.shape == (4,)
    restored = codes * scale[None, :, None, None]
    assert ((restored - weight).abs() <= 0.5001 * scale[None, :, None, None]).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("precision", "bar"),
    [
        (Precision.FP16, 65),
        (Precision.INT8_DYNAMIC, 37),
        (Precision.INT8_WEIGHT_ONLY, 42),
    ],
)
def test_linear(precision: Precision, bar: float, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 64, bias=bias), torch.randn(1, 9, 256)
    assert snr(layer(x), quantized(layer, precision)(x)) > bar


@pytest.mark.parametrize(
    ("precision", "bar"), [(Precision.FP16, 65), (Precision.INT8_WEIGHT_ONLY, 40)]
)
def test_embedding(precision: Precision, bar: float) -> None:
    torch.manual_seed(0)
    layer, ids = nn.Embedding(100, 64), torch.arange(100, dtype=torch.int32)[None]
    assert snr(layer(ids), quantized(layer, precision)(ids)) > bar


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("precision", "bar"),
    [
        (Precision.FP16, 65),
        (Precision.INT8_DYNAMIC, 34),
        (Precision.INT8_WEIGHT_ONLY, 38),
    ],
)
def test_convolution(kind: str, precision: Precision, bar: float) -> None:
    torch.manual_seed(0)
    layer, x = convolution(kind)
    out = quantized(layer, precision)(x)
    assert out.shape == layer(x).shape
    assert snr(layer(x), out) > bar


def test_activation_ranges_are_per_position() -> None:
    """A loud position must not cost a quiet one its resolution."""
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 64, bias=False), torch.randn(1, 2, 256)
    x[:, 0] *= 1000
    pointwise = nn.Conv2d(256, 64, 1, bias=False)
    columns = x.movedim(-1, 1)[:, :, None]
    for reference, given, position in (
        (layer, x, (0, 1)),
        (pointwise, columns, (0, slice(None), 0, 1)),
    ):
        out = quantized(reference, Precision.INT8_DYNAMIC)(given)
        assert snr(reference(given)[position], out[position]) > 37


def test_layers_are_swapped_in_place_and_float_weights_go() -> None:
    module = TwoParts()
    plan = plan_layers(module, PARTS, get_recipe("int8-dynamic"))
    assert quantize_layers(module, plan) is module
    assert [name for name, _ in module.named_parameters()] == ["gain"]
    assert module.text.layers[0].weight.codes.dtype == torch.int8
    with pytest.raises(ValueError, match="nose"):
        quantize_layers(TwoParts(), {"nose": Precision.FP16})


def test_layers_without_a_quantized_form_are_named() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(8, 8, 3, groups=2))
    with pytest.raises(ExportError, match=r"layer 1: .*keep_float"):
        quantize_layers(module, {"1": Precision.INT8_DYNAMIC})
    huge = nn.Sequential(nn.Linear(4, 4))
    nn.init.constant_(huge[0].weight, 1e5)
    with pytest.raises(ExportError, match=r"layer 0: .*float16"):
        quantize_layers(huge, {"0": Precision.FP16})


def test_spectra_of_sounds_shorter_than_the_window() -> None:
    sound = np.random.default_rng(1).uniform(-1, 1, (2, 64)).astype(np.float32)
    assert log_spectral_distance(sound, sound) == 0
    # Half of the frames hold silence alone, which has no difference.
    assert log_spectral_distance(sound, sound / 10) > 5
