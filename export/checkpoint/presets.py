"""Random checkpoints in the layout of the trained one, so that all work can start without it.

`tiny` is for tests and first steps (seconds for everything); `sao-small` has the exact tensors of
Stable Audio Open Small, so that speed, memory and size can be measured without the gated weights.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from arcmobile.export.checkpoint.disk_space import require_space
from arcmobile.export.checkpoint.folder import MODEL_CONFIG
from arcmobile.export.checkpoint.random_weights import (
    TensorPlan,
    model_tensors,
    text_encoder_tensors,
)
from arcmobile.export.checkpoint.tokenizer_files import EXTRA_IDS, write_tokenizer
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.whole_output import whole_folder

MAX_PIECES = 1000
_VOCABULARY_STEP = 16  # embedding rows are rounded up to it
_BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class TextEncoderSize:
    """Sizes of a T5 encoder; `vocab_size` None means as many as the trained pieces need."""

    d_model: int
    d_ff: int
    d_kv: int
    num_layers: int
    num_heads: int
    vocab_size: int | None


@dataclass(frozen=True)
class Preset:
    """Everything that sizes a checkpoint; `sample_size` is in samples per channel."""

    name: str
    text_encoder_name: str
    sample_size: int
    latent_channels: int
    autoencoder_channels: int
    embed_dim: int
    depth: int
    num_heads: int
    text: TextEncoderSize
    c_mults: tuple[int, ...] = (1, 2, 4, 8, 16)
    strides: tuple[int, ...] = (2, 4, 4, 8, 8)

    def model_config(self) -> dict[str, Any]:
        """Return the content of ``model_config.json``, in upstream's words."""
        autoencoder = {"channels": self.autoencoder_channels, "c_mults": list(self.c_mults)}
        strides = {"strides": list(self.strides)}
        cond_dim = self.text.d_model
        return {
            "model_type": "diffusion_cond",
            "sample_size": self.sample_size,
            "sample_rate": 44100,
            "audio_channels": 2,
            "model": {
                "pretransform": {
                    "type": "autoencoder",
                    "config": {
                        "encoder": {
                            "type": "oobleck",
                            "config": {
                                "in_channels": 2,
                                **autoencoder,
                                **strides,
                                "latent_dim": 2 * self.latent_channels,
                                "use_snake": True,
                            },
                        },
                        "decoder": {
                            "type": "oobleck",
                            "config": {
                                "out_channels": 2,
                                **autoencoder,
                                **strides,
                                "latent_dim": self.latent_channels,
                                "use_snake": True,
                                "final_tanh": False,
                            },
                        },
                        "bottleneck": {"type": "vae"},
                        "latent_dim": self.latent_channels,
                        "downsampling_ratio": math.prod(self.strides),
                        "io_channels": 2,
                    },
                },
                "conditioning": {
                    "configs": [
                        {
                            "id": "prompt",
                            "type": "t5",
                            "config": {"t5_model_name": self.text_encoder_name, "max_length": 64},
                        },
                        {
                            "id": "seconds_total",
                            "type": "number",
                            "config": {"min_val": 0, "max_val": 256},
                        },
                    ],
                    "cond_dim": cond_dim,
                },
                "diffusion": {
                    "cross_attention_cond_ids": ["prompt", "seconds_total"],
                    "global_cond_ids": ["seconds_total"],
                    "diffusion_objective": "rf_denoiser",
                    "type": "dit",
                    "config": {
                        "io_channels": self.latent_channels,
                        "embed_dim": self.embed_dim,
                        "depth": self.depth,
                        "num_heads": self.num_heads,
                        "cond_token_dim": cond_dim,
                        "global_cond_dim": cond_dim,
                        "transformer_type": "continuous_transformer",
                        "attn_kwargs": {"qk_norm": "ln"},
                    },
                },
                "io_channels": self.latent_channels,
            },
        }

    def text_config(self, pieces: int) -> dict[str, Any]:
        """Return ``text_encoder/config.json`` for a tokenizer of ``pieces`` pieces."""
        needed = pieces + EXTRA_IDS
        rounded = -(-needed // _VOCABULARY_STEP) * _VOCABULARY_STEP
        return {
            "architectures": ["T5EncoderModel"],
            "d_ff": self.text.d_ff,
            "d_kv": self.text.d_kv,
            "d_model": self.text.d_model,
            "dense_act_fn": "relu",
            "dropout_rate": 0.1,
            "eos_token_id": 1,
            "feed_forward_proj": "relu",
            "initializer_factor": 1.0,
            "is_encoder_decoder": False,
            "is_gated_act": False,
            "layer_norm_epsilon": 1e-06,
            "model_type": "t5",
            "num_heads": self.text.num_heads,
            "num_layers": self.text.num_layers,
            "pad_token_id": 0,
            "relative_attention_max_distance": 128,
            "relative_attention_num_buckets": 32,
            "use_cache": False,
            "vocab_size": self.text.vocab_size or rounded,
        }

    def tensors(self, pieces: int) -> tuple[list[TensorPlan], list[TensorPlan]]:
        """Return the tensors of the model file and those of the text encoder's."""
        config = ModelConfig.model_validate(self.model_config())
        text_config = T5Config.model_validate(self.text_config(pieces))
        return model_tensors(config, text_config), text_encoder_tensors(text_config)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            text_encoder_name="t5-tiny-random",
            sample_size=65536,
            latent_channels=16,
            autoencoder_channels=8,
            embed_dim=128,
            depth=3,
            num_heads=2,
            text=TextEncoderSize(
                d_model=64, d_ff=128, d_kv=16, num_layers=2, num_heads=4, vocab_size=None
            ),
        ),
        Preset(
            name="sao-small",
            text_encoder_name="t5-base",
            sample_size=524288,
            latent_channels=64,
            autoencoder_channels=128,
            embed_dim=1024,
            depth=16,
            num_heads=8,
            text=TextEncoderSize(
                d_model=768, d_ff=3072, d_kv=64, num_layers=12, num_heads=12, vocab_size=32128
            ),
        ),
    )
}


def find_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        InputError: there is none; the message lists the known ones.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name}: unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_prompts() -> list[str]:
    """Return prompts as people write them: what the presets' tokenizer is trained on."""
    corpus = resources.files("arcmobile.export.checkpoint").joinpath("preset_corpus.txt")
    return corpus.read_text(encoding="utf-8").splitlines()


def write_preset_tokenizer(folder: Path) -> int:
    """Write the presets' tokenizer, see :func:`write_tokenizer`; returns its number of pieces."""
    return write_tokenizer(folder, preset_prompts(), max_pieces=MAX_PIECES)


def checkpoint_bytes(preset: Preset) -> int:
    """Return the size of the two weight files in bytes, without their headers."""
    model, text = preset.tensors(MAX_PIECES)
    return _BYTES_PER_VALUE * sum(plan.size for plan in (*model, *text))


def init_checkpoint(
    preset: Preset,
    seed: int,
    out: Path,
    *,
    overwrite: bool = False,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a random checkpoint; the same preset and seed give the same files.

    Args:
        preset: the sizes.
        seed: 0 or more.
        out: the folder to make; it appears only when complete.
        overwrite: allow `out` to be an existing checkpoint.
        on_bytes: called with the bytes of weights just written, for a progress bar.

    Raises:
        InputError: negative seed.
        OutputError: `out` exists, cannot be written, or its disk is too small.
    """
    if seed < 0:
        raise InputError(f"--seed {seed}: has to be 0 or more")
    with whole_folder(out, replaceable=MODEL_CONFIG, overwrite=overwrite, option="--out") as folder:
        require_space(out, checkpoint_bytes(preset))
        _write_json(folder / MODEL_CONFIG, preset.model_config())
        text = folder / "text_encoder"
        text.mkdir()
        pieces = write_preset_tokenizer(text)
        _write_json(text / "config.json", preset.text_config(pieces))
        model_plans, text_plans = preset.tensors(pieces)
        write_random_safetensors(text / "model.safetensors", text_plans, seed, on_bytes)
        write_random_safetensors(folder / "model.safetensors", model_plans, seed, on_bytes)


def write_random_safetensors(
    path: Path, plans: Iterable[TensorPlan], seed: int, on_bytes: Callable[[int], None]
) -> None:
    """Draw and write one tensor at a time: peak memory is the largest tensor, not the file.

    The format (https://github.com/huggingface/safetensors): u64 header length, JSON header padded
    with spaces to 8 bytes, then the tensors' bytes in the order of their offsets.
    """
    plans = list(plans)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for plan in plans:
        end = offset + _BYTES_PER_VALUE * plan.size
        header[plan.name] = {"dtype": "F32", "shape": plan.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for plan in plans:
            values = plan.draw(seed).astype("<f4", copy=False)
            file.write(values.data)
            on_bytes(values.nbytes)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
