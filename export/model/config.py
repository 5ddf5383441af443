"""`model_config.json` and the text encoder's `config.json`, validated.

The classes mirror the upstream layout key by key with upstream's defaults (stable-audio-tools,
commit 50049e3: models/dit.py, transformer.py, conditioners.py, autoencoders.py). A key that this
toolkit does not implement is refused by name, never skipped: a network that silently differs from
the one that was trained is worse than none.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from arcmobile.export.model.autoencoder_config import AutoencoderConfig, PretransformSection
from arcmobile.export.model.config_file import read_json_object, refuse_unsupported, validated
from arcmobile.export.model.config_types import (
    LONGEST_LATENT,
    LONGEST_PROMPT,
    MOST_LAYERS,
    TAKEN_IDS,
    Channels,
    Epsilon,
    Id,
    LatentChannels,
    Layers,
    Number,
    Open,
    Strict,
    Width,
    Width0,
)
from arcmobile.runtime import bounds

# --- conditioning -----------------------------------------------------------------------------


class T5ConditionerConfig(Strict):
    """Options of the prompt conditioner (upstream conditioners.py, T5Conditioner)."""

    t5_model_name: str = "t5-base"
    max_length: int = Field(default=128, ge=1, le=LONGEST_PROMPT)
    enable_grad: bool = False  # true: the checkpoint itself holds the text encoder
    project_out: bool = False
    output_dim: Width | None = None


class NumberConditionerConfig(Strict):
    """Options of a number conditioner; numbers are clamped to ``[min_val, max_val]``."""

    min_val: Number = 0.0
    max_val: Number = 1.0
    output_dim: Width | None = None

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not np.float32(self.max_val) > np.float32(self.min_val):  # as programs compute
            raise ValueError("max_val must be greater than min_val")
        return self


class T5ConditionerEntry(Open):
    """The prompt conditioner and its id."""

    id: Id
    type: Literal["t5"]
    config: T5ConditionerConfig


class NumberConditionerEntry(Open):
    """A number conditioner and its id."""

    id: Id
    type: Literal["number"]
    config: NumberConditionerConfig

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.id in TAKEN_IDS:
            raise ValueError(f"id {self.id!r} is taken; choose another")
        return self


ConditionerEntry = Annotated[
    T5ConditionerEntry | NumberConditionerEntry, Field(discriminator="type")
]


class ConditioningConfig(Open):
    """All conditioners; ``cond_dim`` is the width of those that name none."""

    configs: tuple[ConditionerEntry, ...] = Field(min_length=1, max_length=64)
    cond_dim: Width
    default_keys: dict[str, str] = Field(default={})
    pre_encoded_keys: tuple[()] = ()

    @property
    def text(self) -> T5ConditionerEntry:
        """Return the prompt conditioner."""
        return next(c for c in self.configs if isinstance(c, T5ConditionerEntry))

    @property
    def numbers(self) -> tuple[NumberConditionerEntry, ...]:
        """Return the number conditioners, in order."""
        return tuple(c for c in self.configs if isinstance(c, NumberConditionerEntry))

    def width(self, name: str) -> int:
        """Width of the embeddings of the conditioner of that id."""
        entry = next(c for c in self.configs if c.id == name)
        return entry.config.output_dim or self.cond_dim

    @model_validator(mode="after")
    def _ids(self) -> Self:
        ids = [c.id for c in self.configs]
        if len(set(ids)) != len(ids):
            raise ValueError("conditioner ids repeat")
        if sum(isinstance(c, T5ConditionerEntry) for c in self.configs) != 1:
            raise ValueError("exactly one conditioner of type 't5' is supported")
        return self


# --- diffusion transformer ----------------------------------------------------------------------


class AttentionConfig(Strict):
    """Options of attention (upstream transformer.py, Attention)."""

    qk_norm: Literal["l2", "ln", "dyt", "none"] = "none"
    differential: Literal[False] = False
    feat_scale: Literal[False] = False


class FeedForwardConfig(Strict):
    """Options of the feed-forward network (upstream transformer.py, FeedForward)."""

    mult: float = Field(default=4, gt=0, le=64)
    no_bias: bool = False
    glu: bool = True
    use_conv: Literal[False] = False
    conv_kernel_size: int = 3  # read by upstream only with use_conv


class NormConfig(Strict):
    """Options of layer norm (upstream transformer.py, LayerNorm)."""

    bias: bool = False  # `beta` is stored either way
    fix_scale: bool = False  # `gamma` is stored either way
    force_fp32: bool = False
    eps: Epsilon = 1e-5


class DitConfig(Strict):
    """Options of the diffusion transformer (upstream dit.py, DiffusionTransformer)."""

    io_channels: LatentChannels = 32
    patch_size: Width = 1
    embed_dim: Width = 768
    cond_token_dim: int = Field(default=0, ge=1, le=65536)
    project_cond_tokens: bool = True
    global_cond_dim: Width0 = 0
    project_global_cond: bool = True
    input_concat_dim: Literal[0] = 0
    prepend_cond_dim: Literal[0] = 0
    depth: Layers = 12
    num_heads: Width = 8
    transformer_type: Literal["continuous_transformer"] = "continuous_transformer"
    global_cond_type: Literal["prepend", "adaLN"] = "prepend"
    timestep_cond_type: Literal["global", "input_concat"] = "global"
    timestep_embed_dim: Width | None = None
    # continuous transformer
    final_cross_attn_ix: int = Field(default=-1, ge=-1, le=MOST_LAYERS)
    causal: Literal[False] = False
    rotary_pos_emb: bool = True
    zero_init_branch_outputs: bool = True  # initialisation only
    conformer: Literal[False] = False
    use_sinusoidal_emb: Literal[False] = False
    use_abs_pos_emb: Literal[False] = False
    abs_pos_emb_max_length: int = 10000  # read by upstream only with use_abs_pos_emb
    num_memory_tokens: int = Field(default=0, ge=0, le=4096)
    sliding_window: None = None
    # transformer block
    remove_norms: bool = False
    add_rope: Literal[False] = False
    layer_scale: bool = False
    attn_kwargs: AttentionConfig = AttentionConfig()
    ff_kwargs: FeedForwardConfig = FeedForwardConfig()
    norm_kwargs: NormConfig = NormConfig()

    # sizes that follow from the above
    @property
    def head_dim(self) -> int:
        """Features of each head."""
        return self.embed_dim // self.num_heads

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.embed_dim // self.head_dim

    @property
    def rotary_dim(self) -> int:
        """Rotated features of each head (transformer.py, ContinuousTransformer)."""
        return 2 * math.ceil(max(self.head_dim // 2, 32) / 2) if self.rotary_pos_emb else 0

    @property
    def context_dim(self) -> int:
        """Width of the cross-attention tokens."""
        return self.embed_dim if self.project_cond_tokens else self.cond_token_dim

    @property
    def kv_heads(self) -> int:
        """Key and value heads of the cross-attention."""
        return self.context_dim // self.head_dim

    @property
    def global_embed_dim(self) -> int:
        """Width of the global conditioning after its projection."""
        return self.embed_dim if self.project_global_cond else self.global_cond_dim

    @property
    def time_width(self) -> int:
        """Width of the timestep embedding."""
        if self.timestep_cond_type == "global":
            return self.embed_dim
        return self.timestep_embed_dim or 0

    @property
    def input_channels(self) -> int:
        """Latent channels plus, with input_concat, the timestep embedding."""
        concat = self.time_width if self.timestep_cond_type == "input_concat" else 0
        return self.io_channels + concat

    @property
    def has_global_vector(self) -> bool:
        """Whether there is a global vector: global conditioning, the timestep, or their sum."""
        return self.global_cond_dim > 0 or self.timestep_cond_type == "global"

    @property
    def has_global_token(self) -> bool:
        """Whether the global vector is prepended to the sequence as a token."""
        return self.global_cond_type == "prepend" and self.has_global_vector

    @property
    def prepended_tokens(self) -> int:
        """Tokens before those of the latent: memory tokens and the global one."""
        return self.num_memory_tokens + int(self.has_global_token)

    def cross_attends(self, layer: int) -> bool:
        """Tell whether a layer has cross-attention."""
        return self.final_cross_attn_ix == -1 or layer <= self.final_cross_attn_ix

    @property
    def cross_layers(self) -> int:
        """Number of layers with cross-attention."""
        return sum(self.cross_attends(i) for i in range(self.depth))

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.num_heads > self.embed_dim or self.embed_dim % self.head_dim:
            raise ValueError("embed_dim does not divide into num_heads")
        if self.rotary_dim > self.head_dim:
            raise ValueError(
                f"heads of {self.head_dim} are smaller than their {self.rotary_dim} rotary features"
            )
        if self.context_dim % self.head_dim or self.heads % max(self.kv_heads, 1):
            raise ValueError("cross-attention width does not divide into the heads")
        if self.timestep_cond_type == "input_concat" and self.timestep_embed_dim != 1:
            # Upstream repeats the embedding's last axis over the frames: it runs with width 1 only.
            raise ValueError("timestep_cond_type input_concat needs timestep_embed_dim 1")
        if self.global_embed_dim not in (0, self.embed_dim):
            raise ValueError("project_global_cond false needs global_cond_dim equal to embed_dim")
        return self


class DiffusionConfig(Open):
    """The DiT, what conditions it, and what it was trained for."""

    type: Literal["dit"]
    diffusion_objective: Literal["rectified_flow", "rf_denoiser"]
    cross_attention_cond_ids: tuple[str, ...] = Field(min_length=1)
    global_cond_ids: tuple[str, ...] = ()
    input_concat_ids: tuple[()] = ()
    prepend_cond_ids: tuple[()] = ()
    config: DitConfig


# --- the whole ----------------------------------------------------------------------------------


class ModelSection(Open):
    """The parts of the model."""

    pretransform: PretransformSection
    conditioning: ConditioningConfig
    diffusion: DiffusionConfig
    io_channels: LatentChannels


class ModelConfig(Open):
    """The whole of ``model_config.json``."""

    model_type: Literal["diffusion_cond"]
    sample_size: int = Field(ge=1, le=bounds.SAMPLES)  # samples
    sample_rate: int = Field(ge=1, le=bounds.SAMPLE_RATE)  # Hz
    audio_channels: Channels = 2
    model: ModelSection

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        dit, conditioning = self.dit, self.conditioning
        known = {c.id for c in conditioning.configs}
        diffusion = self.model.diffusion
        for name in (*diffusion.cross_attention_cond_ids, *diffusion.global_cond_ids):
            if name not in known:
                raise ValueError(f"conditioning id {name!r} has no conditioner")
        if conditioning.text.id in diffusion.global_cond_ids:
            raise ValueError("a text conditioner as global conditioning is not supported")
        for name in diffusion.cross_attention_cond_ids:
            if (width := conditioning.width(name)) != dit.cond_token_dim:
                raise ValueError(f"cond_token_dim is not the width of {name!r}, {width}")
        width = sum(conditioning.width(name) for name in diffusion.global_cond_ids)
        # Without ids upstream leaves the global projection unused, whatever its width.
        unused = not diffusion.global_cond_ids and dit.timestep_cond_type == "global"
        if dit.global_cond_dim != width and not unused:
            raise ValueError(f"global_cond_dim is not the width of the global_cond_ids, {width}")
        if not dit.io_channels == self.autoencoder.latent_dim == self.model.io_channels:
            raise ValueError("io_channels of model, DiT and autoencoder differ")
        if self.max_frames < 1:
            raise ValueError("sample_size is less than one latent frame")
        if self.max_frames > LONGEST_LATENT:
            raise ValueError(
                f"sample_size is {self.max_frames} latent frames, more than {LONGEST_LATENT}"
            )
        return self

    @property
    def conditioning(self) -> ConditioningConfig:
        """The conditioners."""
        return self.model.conditioning

    @property
    def dit(self) -> DitConfig:
        """Options of the diffusion transformer."""
        return self.model.diffusion.config

    @property
    def autoencoder(self) -> AutoencoderConfig:
        """The autoencoder."""
        return self.model.pretransform.config

    @property
    def samples_per_frame(self) -> int:
        """Samples per channel of a latent frame."""
        return self.autoencoder.downsampling_ratio

    @property
    def max_frames(self) -> int:
        """Latent frames of the trained duration, in whole patches."""
        frames = self.sample_size // self.samples_per_frame
        return frames - frames % self.dit.patch_size

    @property
    def cond_tokens(self) -> int:
        """Cross-attention tokens: the prompt's rows and one row per number."""
        text = self.conditioning.text
        ids = self.model.diffusion.cross_attention_cond_ids
        return sum(text.config.max_length if name == text.id else 1 for name in ids)


class T5Config(Open):
    """Text encoder sizes, from transformers' ``config.json`` and with its defaults."""

    model_type: Literal["t5"] = "t5"
    vocab_size: int = Field(default=32128, ge=1, le=1 << 24)
    d_model: Width = 512
    d_kv: Width = 64
    d_ff: int = Field(default=2048, ge=1, le=1 << 20)
    num_layers: Layers = 6
    num_heads: int = Field(default=8, ge=1, le=1024)
    relative_attention_num_buckets: int = Field(default=32, ge=4, le=4096)
    relative_attention_max_distance: int = Field(default=128, ge=2, le=1 << 24)
    layer_norm_epsilon: Epsilon = 1e-6
    pad_token_id: int = Field(default=0, ge=0)
    eos_token_id: int = Field(default=1, ge=0)
    feed_forward_proj: Literal["relu", "gelu", "silu", "gated-gelu", "gated-relu", "gated-silu"] = (
        "relu"
    )

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        exact = self.relative_attention_num_buckets // 4
        if self.relative_attention_max_distance <= exact:
            raise ValueError(f"relative_attention_max_distance must be above {exact}")
        for name in ("pad_token_id", "eos_token_id"):
            if getattr(self, name) >= self.vocab_size:
                raise ValueError(f"{name} is {getattr(self, name)}, not below vocab_size")
        return self

    @property
    def gated(self) -> bool:
        """Whether the feed-forward networks are gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> Literal["relu", "gelu", "gelu_tanh", "silu"]:
        """The activation of the feed-forward networks."""
        # transformers maps "gated-gelu" to the tanh approximation (T5 v1.1).
        if self.feed_forward_proj == "gated-gelu":
            return "gelu_tanh"
        name = self.feed_forward_proj.removeprefix("gated-")
        return "relu" if name == "relu" else "gelu" if name == "gelu" else "silu"


def load_model_config(path: Path) -> ModelConfig:
    """Read ``model_config.json``.

    Raises:
        CheckpointError: missing file, malformed JSON, another model family, or a key or value
            this toolkit does not implement; the message names each.
    """
    raw = read_json_object(path)
    refuse_unsupported(path, raw)
    return validated(ModelConfig, path, raw, "unsupported config")


def load_t5_config(path: Path) -> T5Config:
    """Read the text encoder's ``config.json``.

    Raises:
        CheckpointError: as :func:`load_model_config`.
    """
    return validated(T5Config, path, read_json_object(path), "unsupported text encoder")
