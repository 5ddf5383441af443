"""What is judged: each row makes sounds for prompts in its own way.

A row is a name, a sentence, and a function from prompts and a seed to sounds. Rows of models take
the same noise for the same prompt and seed, whatever their engine, so that one can hear what a
number of steps or a quantization recipe changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.export.parity.reference import open_reference
from arcmobile.export.pipeline import ExportRequest, export_bundle
from arcmobile.posttrain.flow.sampling import euler_sample
from arcmobile.posttrain.judgement.held_out_prompts import Prompt, drawn_again, drawn_sound
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.posttrain.training.networks import TrainableGenerator
from arcmobile.runtime.audio import fit_length, match_channels
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import BundleError, CheckpointError, InputError
from arcmobile.runtime.generate import Pipeline
from arcmobile.runtime.noise import PhiloxNoise
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.tensors import DECODER, ENCODER

_BATCH = 16
_SEED_STRIDE = 1 << 42
Audio = npt.NDArray[np.float32]
Generate = Callable[[Sequence[Prompt], int], Iterator[Audio]]
"""Prompts and a seed -> a sound (2, samples) for each prompt, one after the other."""


@dataclass(frozen=True)
class Row:
    """``name`` is short and unique; ``how`` is a sentence. ``ceiling``: made from real sounds."""

    name: str
    how: str
    generate: Generate
    ceiling: bool = False


def noise_seed(prompt: Prompt, seed: int) -> int:
    """The noise generator's seed of one sound: its own for each prompt and seed, 64 bits."""
    return (prompt.seed + seed * _SEED_STRIDE) % (1 << 64)


def drawn_row() -> Row:
    """The procedural generator that the model learns from, asked for the same words."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        return (drawn_again(prompt, seed) for prompt in prompts)

    return Row("drawn again", "other drawn sounds of the same words", generate, ceiling=True)


def autoencoder_row(folder: CheckpointFolder) -> Row:
    """The prompts' own drawn sounds through encoder and decoder; the seed changes nothing."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        encoder, decoder = folder.build(ENCODER), folder.build(DECODER)
        ratio = folder.config.autoencoder.downsampling_ratio
        for prompt in prompts:
            sound = drawn_sound(prompt)
            padded = np.pad(sound, ((0, 0), (0, -sound.shape[1] % ratio)))
            with torch.inference_mode():
                mean, _ = encoder(torch.from_numpy(padded)[None])
                made = decoder(mean)[0].numpy()
            yield np.ascontiguousarray(made[:, : sound.shape[1]])

    return Row("autoencoder", "drawn sounds, encoded and decoded", generate, ceiling=True)


def flow_row(name: str, folder: CheckpointFolder, steps: int, guidance: float) -> Row:
    """Euler steps along the flow of a base model in PyTorch."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        generator, tokenizer = read_generator(folder), folder_tokenizer(folder)
        decoder = folder.build(DECODER)
        shape = (1, folder.config.dit.io_channels, folder.config.max_frames)
        for first in range(0, len(prompts), _BATCH):
            batch = prompts[first : first + _BATCH]
            tokens = [tokenizer(prompt.caption) for prompt in batch]
            seconds = torch.tensor([prompt.seconds for prompt in batch])
            noise = [PhiloxNoise(noise_seed(prompt, seed)).initial(shape) for prompt in batch]
            with torch.no_grad():
                told = generator.condition(
                    torch.from_numpy(np.concatenate([t.input_ids for t in tokens])).long(),
                    torch.from_numpy(np.concatenate([t.attention_mask for t in tokens])),
                    seconds,
                )
                start = torch.from_numpy(np.concatenate(noise))
                latents = euler_sample(generator, told, start, steps, guidance=guidance)
                for prompt, latent in zip(batch, latents, strict=True):
                    yield cut(decoder(latent[None])[0].numpy(), prompt)

    told = f"guidance {guidance:g}" if guidance != 1 else "no guidance"
    return Row(name, f"PyTorch, Euler, {steps} steps, {told}", generate)


def read_generator(folder: CheckpointFolder) -> TrainableGenerator:
    """The generator of a checkpoint folder; raises CheckpointError where it is not sound."""
    try:
        return TrainableGenerator(
            folder.config,
            folder.text_config,
            {name: folder.source.read(name).float() for name in folder.source.names()},
            {name: folder.text_source.read(name).float() for name in folder.text_source.names()},
        ).eval()
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{folder.path}: tensors do not fit its config ({error})") from None


def cut(audio: Audio, prompt: Prompt) -> Audio:
    """(any channels, samples) -> (2, the prompt's seconds)."""
    samples = round(prompt.seconds * MODEL_SAMPLE_RATE)
    return fit_length(match_channels(audio, 2), samples)


def pingpong_row(name: str, folder: CheckpointFolder, steps: int) -> Row:
    """The runtime's own pipeline over the PyTorch networks of a checkpoint."""

    def open_pipeline() -> Pipeline:
        return Pipeline(*open_reference(folder.path, folder.text_encoder))

    return _pipeline_row(name, f"PyTorch, ping-pong, {_steps(steps)}", open_pipeline, steps)


def bundle_row(bundle: Bundle, steps: int, threads: int | None) -> Row:
    """A bundle on the engine that it was made for."""
    manifest = bundle.manifest
    name = f"{manifest.backend} {manifest.recipe}"
    how = f"{manifest.backend}, {manifest.recipe}, {bundle.size / 1e6:.1f} MB, {_steps(steps)}"

    def open_pipeline() -> Pipeline:
        return Pipeline.open(bundle, EngineOptions(threads))

    return _pipeline_row(name, how, open_pipeline, steps)


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _pipeline_row(name: str, how: str, open_pipeline: Callable[[], Pipeline], steps: int) -> Row:
    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        with open_pipeline() as pipeline:
            for prompt in prompts:
                request = GenerationRequest(
                    prompt.caption,
                    seconds=prompt.seconds,
                    steps=steps,
                    seed=noise_seed(prompt, seed),
                )
                yield cut(pipeline.generate(request).audio, prompt)

    return Row(name, how, generate)


def exported(
    checkpoint: CheckpointFolder,
    backend: str,
    recipe: str,
    folder: Path,
    report: Callable[[str], None],
) -> Bundle:
    """The bundle of a checkpoint under ``folder``; made there unless it is there already."""
    destination = folder / f"{checkpoint.path.resolve().name}-{backend}-{recipe}"
    if destination.is_dir():
        try:
            bundle = Bundle.open(destination)
        except BundleError:
            pass
        else:
            if bundle.manifest.provenance.checkpoint_sha256 == checkpoint.digest():
                return bundle
    request = ExportRequest(
        checkpoint=checkpoint.path,
        text_encoder=checkpoint.text_encoder,
        destination=destination,
        backend=backend,
        recipe=recipe,
        overwrite=True,
        cache=folder / "programs",
    )
    return export_bundle(request, report).bundle


def check_rate(folder: CheckpointFolder) -> float:
    """The longest sound of a checkpoint in seconds; raises InputError for another sample rate."""
    config = folder.config
    if config.sample_rate != MODEL_SAMPLE_RATE:
        raise InputError(
            f"{folder.path}: makes sounds at {config.sample_rate} Hz; the drawn sounds that it "
            f"would be compared with have {MODEL_SAMPLE_RATE} Hz"
        )
    return config.max_frames * config.autoencoder.downsampling_ratio / config.sample_rate
