"""Synthesizes sounds to train on, as latents and token ids in shards, in several processes.

A shard appears when it is complete::

    shard-00000.safetensors   latents (sounds, channels, frames) float16, ids (sounds, captions,
                              tokens) int16, lengths (sounds, captions) uint8: tokens before the
                              padding, seconds (sounds,) float32

Captions are worded and tokenized here: in Python, one by one, they would take longer than the
training steps that they are for. Latents are computed by the spectral code that the embedded
decoder was trained with (:mod:`arcmobile.posttrain.autoencoder.spectral_code`, fitted again to the
same sounds).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.autoencoder.spectral_code import SpectralCode
from arcmobile.posttrain.latents.cache import CACHED_SAMPLES, TRAINING_SEED
from arcmobile.posttrain.sounds import caption, synthesize
from arcmobile.posttrain.training.state import write_tensors
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tokenizer import PromptTokenizer

CODE_FOLDER = Path(__file__).parent
CAPTIONS = 8
"""Wordings of each sound."""

_WORDED = 3  # of the seeds of a sound's wordings
_NICE = 10  # training and measuring come first


@dataclass(frozen=True)
class SynthesisJob:
    """What to synthesize.

    Attributes:
        base: checkpoint whose tokenizer is used.
        folder: of the shards.
        count: sounds.
        shard: sounds of a shard.
        first_seed: seed of the first sound.
    """

    base: Path
    folder: Path
    count: int
    shard: int
    first_seed: int = TRAINING_SEED


def spectral_code() -> SpectralCode:
    """Return the code whose latents the embedded model was trained on.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    code = SpectralCode.load(CODE_FOLDER)
    if code is None:
        raise CheckpointError(f"{CODE_FOLDER}: holds no spectral code; get the repository again")
    return code


def encoded(code: SpectralCode, audio: Tensor, samples: int = CACHED_SAMPLES) -> Tensor:
    """Return latents (C * latent_dim, frames) of a sound (C, its samples), then silence.

    Only the sound is transformed, as far as a window reaches beyond it: the latent of silence is
    always the same.
    """
    parts = code.mean.shape[0]
    frame = parts * code.hop
    frames = samples // frame
    sounding = min(frames, -(-audio.shape[1] // frame) + 1)
    padded = torch.zeros(1, len(audio), sounding * frame)
    padded[0, :, : audio.shape[1]] = audio
    silence = code.encode(torch.zeros(1, len(audio), frame))[0]
    rest = silence[:, :1].expand(-1, frames - sounding)
    return torch.cat((code.encode(padded)[0], rest), 1)


def synthesize_shard(
    job: SynthesisJob, shard: int, code: SpectralCode, tokenizer: PromptTokenizer
) -> None:
    """Write one shard; raise OutputError if it cannot be written."""
    first = shard * job.shard
    latents, ids, lengths, seconds = [], [], [], []
    for number in range(first, min(first + job.shard, job.count)):
        seed = job.first_seed + number
        sound = synthesize(seed)
        rng = np.random.default_rng([seed, _WORDED])
        texts = [sound.caption, *(caption(sound.attributes, rng) for _ in range(CAPTIONS - 1))]
        tokens = [tokenizer(text) for text in texts]
        latents.append(encoded(code, torch.from_numpy(sound.audio)).half())
        ids.append(np.concatenate([prompt.input_ids for prompt in tokens]).astype(np.int16))
        lengths.append([int(prompt.attention_mask.sum()) for prompt in tokens])
        seconds.append(sound.seconds)
    tensors = {
        "latents": torch.stack(latents),
        "ids": torch.from_numpy(np.stack(ids)),
        "lengths": torch.tensor(lengths, dtype=torch.uint8),
        "seconds": torch.tensor(seconds, dtype=torch.float32),
    }
    write_tensors(job.folder / f"shard-{shard:05d}.safetensors", tensors, {})


def _run_worker(job: SynthesisJob, worker: int, workers: int) -> None:
    """Synthesize every ``workers``-th shard from ``worker`` on."""
    os.nice(_NICE)
    torch.set_num_threads(1)
    code, tokenizer = spectral_code(), folder_tokenizer(CheckpointFolder.open(job.base))
    for shard in range(worker, -(-job.count // job.shard), workers):
        synthesize_shard(job, shard, code, tokenizer)


def synthesize_shards(job: SynthesisJob, workers: int) -> int:
    """Synthesize all shards in that many processes; end them when a signal ends this one.

    Returns:
        The number of processes that failed.
    """
    context = multiprocessing.get_context("spawn")
    job.folder.mkdir(parents=True, exist_ok=True)
    # Each would otherwise use all cores for the products of one sound.
    os.environ["OMP_NUM_THREADS"] = "1"
    running: list[SpawnProcess] = [
        context.Process(target=_run_worker, args=(job, worker, workers), daemon=True)
        for worker in range(workers)
    ]
    try:
        for process in running:
            process.start()
        while any(process.is_alive() for process in running):
            time.sleep(0.2)
    finally:
        for process in running:
            if process.is_alive():
                process.terminate()
    return sum(process.exitcode != 0 for process in running)
