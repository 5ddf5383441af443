"""A tiny bundle made by hand: five ONNX graphs of a few operators, a tokenizer trained on a line.

It exercises everything around the networks; the networks themselves have tests of their own.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import onnx
import sentencepiece
from onnx import TensorProto, helper, numpy_helper

from arcmobile.export.checkpoint.tokenizer_files import tokenizer_json_from_sentencepiece
from arcmobile.runtime import tensors
from arcmobile.runtime.bundle import (
    TOKENIZER_NAME,
    AudioFormat,
    BundleWriter,
    Component,
    DecoderPart,
    Entry,
    Fidelity,
    Manifest,
    NumberInput,
    Provenance,
    Schedule,
    TensorSpec,
    Tokenizer,
    Windowing,
    write_bundle,
)
from arcmobile.runtime.noise import NOISE_ID

TOKENS = 12
LATENT_CHANNELS = 3
CHANNELS = 2
SAMPLES_PER_FRAME = 4
SAMPLE_RATE = 100
FRAME_COUNTS = (6, 30)
ENCODER_WINDOWS = (6, 11)
ENCODER_CONTEXT = 3
# The decoder's parts: each doubles the rate. A transposed convolution reaches one frame, and so
# does the convolution before (part 1) or behind it (part 2, over two samples).
DECODER_RATES = (1, 2)
DECODER_WINDOWS = ((6, 11), (9,))
DECODER_CONTEXT = 2
FEATURE_CHANNELS = 4
NUMBERS = ("seconds_start", "seconds_total")
LATENT_SHAPE = ["one", LATENT_CHANNELS, "frames"]
AUDIO_SHAPE = ["one", CHANNELS, "samples"]
FEATURES_SHAPE = ["one", FEATURE_CHANNELS, "more_frames"]


@functools.cache
def sentencepiece_model() -> bytes:
    """A unigram model with T5's special ids."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["warm rain on a tin roof", "slow drums and a warm bass"] * 20),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


@functools.cache
def tokenizer_json() -> str:
    return tokenizer_json_from_sentencepiece(sentencepiece_model(), extra_ids=3)


def _weights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.3).astype(np.float32)


def _graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[str | int]]],
    outputs: dict[str, list[str | int]],
    constants: dict[str, np.ndarray],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _conditioner(path: Path) -> None:
    """Everything is a mean of the ids that the mask lets through, plus the numbers."""
    node = helper.make_node
    _graph(
        path,
        [
            node("Cast", [tensors.INPUT_IDS], ["ids"], to=TensorProto.FLOAT),
            node("Mul", ["ids", tensors.ATTENTION_MASK], ["masked"]),
            node("ReduceMean", ["masked"], ["text"], keepdims=0),
            node("Add", ["text", NUMBERS[0]], ["with_start"]),
            node("Add", ["with_start", NUMBERS[1]], ["all"]),
            node("Mul", ["all", "g"], [tensors.GLOBAL_COND]),
            node("Mul", ["all", "k"], [tensors.CROSS_KEYS]),
            node("Mul", ["all", "v"], [tensors.CROSS_VALUES]),
        ],
        {
            tensors.INPUT_IDS: (TensorProto.INT32, [1, TOKENS]),
            tensors.ATTENTION_MASK: (TensorProto.FLOAT, [1, TOKENS]),
            NUMBERS[0]: (TensorProto.FLOAT, [1]),
            NUMBERS[1]: (TensorProto.FLOAT, [1]),
        },
        {
            tensors.GLOBAL_COND: [1, 5],
            tensors.CROSS_KEYS: [2, 4, 9],
            tensors.CROSS_VALUES: [2, 9, 4],
        },
        {"g": _weights(1, 1, 5), "k": _weights(2, 2, 4, 9), "v": _weights(3, 2, 9, 4)},
    )


def _dit(path: Path) -> None:
    """velocity = conv(latent) + timestep + the means of the conditioning."""
    node = helper.make_node
    _graph(
        path,
        [
            node("Conv", [tensors.LATENT, "w"], ["mixed"], pads=[1, 1]),
            node("ReduceMean", [tensors.GLOBAL_COND], ["global"], keepdims=0),
            node("ReduceMean", [tensors.CROSS_KEYS], ["keys"], keepdims=0),
            node("ReduceMean", [tensors.CROSS_VALUES], ["values"], keepdims=0),
            node("Sum", ["global", "keys", "values", tensors.TIMESTEP], ["shift"]),
            node("Add", ["mixed", "shift"], [tensors.VELOCITY]),
        ],
        {
            tensors.LATENT: (TensorProto.FLOAT, LATENT_SHAPE),
            tensors.TIMESTEP: (TensorProto.FLOAT, [1]),
            tensors.GLOBAL_COND: (TensorProto.FLOAT, [1, 5]),
            tensors.CROSS_KEYS: (TensorProto.FLOAT, [2, 4, 9]),
            tensors.CROSS_VALUES: (TensorProto.FLOAT, [2, 9, 4]),
        },
        {tensors.VELOCITY: LATENT_SHAPE},
        {"w": _weights(4, LATENT_CHANNELS, LATENT_CHANNELS, 3)},
    )


_UPSAMPLE = {"strides": [2], "pads": [1, 1]}


def _decoder_1(path: Path) -> None:
    node = helper.make_node
    _graph(
        path,
        [
            node("Conv", [tensors.LATENT, "w0"], ["a"], pads=[1, 1]),
            node("ConvTranspose", ["a", "w1"], [tensors.NEXT_FEATURES], **_UPSAMPLE),
        ],
        {tensors.LATENT: (TensorProto.FLOAT, LATENT_SHAPE)},
        {tensors.NEXT_FEATURES: FEATURES_SHAPE},
        {
            "w0": _weights(5, 4, LATENT_CHANNELS, 3),
            "w1": _weights(6, 4, FEATURE_CHANNELS, 4),
        },
    )


def _decoder_2(path: Path, gain: float) -> None:
    node = helper.make_node
    _graph(
        path,
        [
            node("Sin", [tensors.FEATURES], ["a"]),
            node("ConvTranspose", ["a", "w0"], ["b"], **_UPSAMPLE),
            node("Sin", ["b"], ["c"]),
            node("Conv", ["c", "w1"], [tensors.AUDIO], pads=[2, 2]),
        ],
        {tensors.FEATURES: (TensorProto.FLOAT, FEATURES_SHAPE)},
        {tensors.AUDIO: AUDIO_SHAPE},
        {
            "w0": _weights(10, FEATURE_CHANNELS, 4, 4),
            "w1": _weights(7, CHANNELS, 4, 5) * gain,
        },
    )


def _encoder(path: Path) -> None:
    node = helper.make_node
    conv = {"strides": [SAMPLES_PER_FRAME], "pads": [2, 2]}
    _graph(
        path,
        [
            node("Conv", [tensors.AUDIO, "w0"], [tensors.MEAN], **conv),
            node("Conv", [tensors.AUDIO, "w1"], ["scale"], **conv),
            node("Softplus", ["scale"], [tensors.STDEV]),
        ],
        {tensors.AUDIO: (TensorProto.FLOAT, AUDIO_SHAPE)},
        {tensors.MEAN: LATENT_SHAPE, tensors.STDEV: LATENT_SHAPE},
        {
            "w0": _weights(8, LATENT_CHANNELS, CHANNELS, 8),
            "w1": _weights(9, LATENT_CHANNELS, CHANNELS, 8),
        },
    )


def _spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec.model_validate({"name": name, "shape": shape, "dtype": dtype})


_CONDITIONING = (
    _spec(tensors.GLOBAL_COND, 1, 5),
    _spec(tensors.CROSS_KEYS, 2, 4, 9),
    _spec(tensors.CROSS_VALUES, 2, 9, 4),
)


_PARTS = tuple(tensors.decoder_part(index) for index in range(len(DECODER_RATES)))
_FRAMES = {
    tensors.DIT: FRAME_COUNTS,
    tensors.ENCODER: ENCODER_WINDOWS,
    **dict(zip(_PARTS, DECODER_WINDOWS, strict=True)),
}


def _entries(component: str) -> tuple[Entry, ...]:
    if component == tensors.CONDITIONER:
        inputs = (
            _spec(tensors.INPUT_IDS, 1, TOKENS, dtype="int32"),
            _spec(tensors.ATTENTION_MASK, 1, TOKENS),
            *(_spec(number, 1) for number in NUMBERS),
        )
        return (Entry(name="main", inputs=inputs, outputs=_CONDITIONING),)
    return tuple(
        Entry(name=f"frames_{frames}", frames=frames, inputs=inputs, outputs=outputs)
        for frames in _FRAMES[component]
        for inputs, outputs in [_specs(component, frames)]
    )


def _specs(component: str, frames: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an entry."""
    latent = _spec(tensors.LATENT, 1, LATENT_CHANNELS, frames)
    if component == tensors.DIT:
        velocity = _spec(tensors.VELOCITY, 1, LATENT_CHANNELS, frames)
        return (latent, _spec(tensors.TIMESTEP, 1), *_CONDITIONING), (velocity,)
    if component == _PARTS[0]:
        return (latent,), (_spec(tensors.NEXT_FEATURES, 1, FEATURE_CHANNELS, 2 * frames),)
    if component == _PARTS[1]:
        features = _spec(tensors.FEATURES, 1, FEATURE_CHANNELS, frames)
        return (features,), (_spec(tensors.AUDIO, 1, CHANNELS, 2 * frames),)
    audio = _spec(tensors.AUDIO, 1, CHANNELS, frames * SAMPLES_PER_FRAME)
    return (audio,), tuple(
        _spec(name, 1, LATENT_CHANNELS, frames) for name in (tensors.MEAN, tensors.STDEV)
    )


def fill(writer: BundleWriter, *, encoder: bool = True, gain: float = 1.0) -> Manifest:
    """Writes the programs and the tokenizer; returns the manifest that describes them."""
    _conditioner(writer.path("conditioner.onnx"))
    _dit(writer.path("dit.onnx"))
    _decoder_1(writer.path("decoder_1.onnx"))
    _decoder_2(writer.path("decoder_2.onnx"), gain)
    names = [tensors.CONDITIONER, tensors.DIT, *_PARTS]
    if encoder:
        _encoder(writer.path("encoder.onnx"))
        names.append(tensors.ENCODER)
    writer.path(TOKENIZER_NAME).write_text(tokenizer_json(), encoding="utf-8")
    return Manifest(
        schema_version=2,
        model_id="tiny-by-hand",
        license_notice="no weights of anyone",
        recipe="fp32",
        backend="onnx",
        audio=AudioFormat(
            sample_rate=SAMPLE_RATE,
            channels=CHANNELS,
            samples_per_frame=SAMPLES_PER_FRAME,
            latent_channels=LATENT_CHANNELS,
        ),
        frame_counts=FRAME_COUNTS,
        numbers=tuple(NumberInput(name=name, minimum=0.0, maximum=9.0) for name in NUMBERS),
        tokenizer=Tokenizer(
            kind="t5-unigram",
            files=(writer.record(TOKENIZER_NAME),),
            max_length=TOKENS,
            pad_id=0,
            eos_id=1,
        ),
        schedule=Schedule(
            kind="logsnr-pingpong", logsnr_start=-6.0, logsnr_end=2.0, default_steps=8
        ),
        noise=NOISE_ID,
        windowing=Windowing(
            decoder=tuple(
                DecoderPart(component=part, frames_per_latent=rate, context_frames=DECODER_CONTEXT)
                for part, rate in zip(_PARTS, DECODER_RATES, strict=True)
            ),
            encoder_context_frames=ENCODER_CONTEXT,
        ),
        components={
            name: Component(
                **writer.record(f"{name}.onnx").model_dump(),
                precision={name: "fp32"},
                entries=_entries(name),
                fidelity=Fidelity(max_abs_error=0.0, snr_db=None, cosine=1.0),
            )
            for name in names
        },
        provenance=Provenance(
            created="2025-01-01T00:00:00+00:00",
            checkpoint_sha256="0" * 64,
            tools={"onnx": onnx.__version__},
        ),
    )


def make_bundle(destination: Path, *, encoder: bool = True, gain: float = 1.0) -> Path:
    with write_bundle(destination) as writer:
        writer.finish(fill(writer, encoder=encoder, gain=gain))
    return destination
