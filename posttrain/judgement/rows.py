"""What is judged: each row makes sounds for prompts in its own way.

A row is a name, a sentence, and a function from prompts and a seed to sounds. Rows of models use
the same noise for the same prompt and seed, whatever their engine, so that differences are those of
the number of steps or the quantization recipe.
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
from arcmobile.posttrain.flow.batches import tokenized
from arcmobile.posttrain.flow.generator import base_generator
from arcmobile.posttrain.flow.sampling import euler_sample
from arcmobile.posttrain.judgement.held_out_prompts import Prompt, reference_sound, resynthesized
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.runtime.audio import fit_length, match_channels
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import BundleError, InputError
from arcmobile.runtime.generate import Pipeline
from arcmobile.runtime.noise import PhiloxNoise
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.tensors import DECODER, ENCODER

_BATCH = 16
_SEED_STRIDE = 1 << 42
Audio = npt.NDArray[np.float32]
Generate = Callable[[Sequence[Prompt], int], Iterator[Audio]]
"""Maps prompts and a seed to a sound (2, samples) for each prompt, one after the other."""


@dataclass(frozen=True)
class Row:
    """One way to make sounds.

    Attributes:
        name: short and unique.
        how: a sentence.
        generate: makes the sounds.
        ceiling: sounds are synthesized: the best possible figures.
    """

    name: str
    how: str
    generate: Generate
    ceiling: bool = False


def noise_seed(prompt: Prompt, seed: int) -> int:
    """Return the 64-bit seed of the noise generator for a prompt and a seed."""
    return (prompt.seed + seed * _SEED_STRIDE) % (1 << 64)


def resynthesized_row() -> Row:
    """Make a row of other synthesized sounds of the same words."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        return (resynthesized(prompt, seed) for prompt in prompts)

    return Row(
        "resynthesized", "other synthesized sounds of the same words", generate, ceiling=True
    )


def autoencoder_row(folder: CheckpointFolder) -> Row:
    """Make a row of the prompts' own synthesized sounds, encoded and decoded."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        encoder, decoder = folder.build(ENCODER), folder.build(DECODER)
        ratio = folder.config.autoencoder.downsampling_ratio
        for prompt in prompts:
            sound = reference_sound(prompt)
            padded = np.pad(sound, ((0, 0), (0, -sound.shape[1] % ratio)))
            with torch.inference_mode():
                mean, _ = encoder(torch.from_numpy(padded)[None])
                decoded = decoder(mean)[0].numpy()
            yield np.ascontiguousarray(decoded[:, : sound.shape[1]])

    return Row("autoencoder", "synthesized sounds, encoded and decoded", generate, ceiling=True)


def flow_row(name: str, folder: CheckpointFolder, steps: int, guidance: float) -> Row:
    """Make a row of Euler steps along the flow of a base model, in PyTorch."""

    def generate(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
        generator, tokenizer = base_generator(folder).eval(), folder_tokenizer(folder)
        decoder = folder.build(DECODER)
        shape = (1, folder.config.dit.io_channels, folder.config.max_frames)
        for first in range(0, len(prompts), _BATCH):
            batch = prompts[first : first + _BATCH]
            tokens = tokenized(tokenizer, [prompt.caption for prompt in batch])
            seconds = torch.tensor([prompt.seconds for prompt in batch])
            noise = [PhiloxNoise(noise_seed(prompt, seed)).initial(shape) for prompt in batch]
            with torch.no_grad():
                conditioning = generator.condition(*tokens, seconds)
                start = torch.from_numpy(np.concatenate(noise))
                latents = euler_sample(generator, conditioning, start, steps, guidance=guidance)
                for prompt, latent in zip(batch, latents, strict=True):
                    yield cut(decoder(latent[None])[0].numpy(), prompt)

    guided = f"guidance {guidance:g}" if guidance != 1 else "no guidance"
    return Row(name, f"PyTorch, Euler, {steps} steps, {guided}", generate)


def cut(audio: Audio, prompt: Prompt) -> Audio:
    """Map (any channels, samples) to (2, samples of the prompt's seconds)."""
    samples = round(prompt.seconds * MODEL_SAMPLE_RATE)
    return fit_length(match_channels(audio, 2), samples)


def pingpong_row(name: str, folder: CheckpointFolder, steps: int) -> Row:
    """Make a row of the runtime's pipeline over the PyTorch networks of a checkpoint."""

    def open_pipeline() -> Pipeline:
        return Pipeline(*open_reference(folder.path, folder.text_encoder))

    return _pipeline_row(name, f"PyTorch, ping-pong, {_steps(steps)}", open_pipeline, steps)


def bundle_row(bundle: Bundle, steps: int, threads: int | None) -> Row:
    """Make a row of a bundle on its engine."""
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
    """Return the bundle of a checkpoint in ``folder``; export it unless it exists."""
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
    """Return the seconds of a checkpoint's longest sound.

    Raises:
        InputError: it has another sample rate.
    """
    config = folder.config
    if config.sample_rate != MODEL_SAMPLE_RATE:
        raise InputError(
            f"{folder.path}: makes sounds at {config.sample_rate} Hz; wanted {MODEL_SAMPLE_RATE}, "
            "the rate of the synthesized sounds that they are compared with"
        )
    return config.max_frames * config.autoencoder.downsampling_ratio / config.sample_rate
