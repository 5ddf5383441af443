"""Diffusion transformer: noisy latent, timestep and conditioning -> velocity.

A rewrite of stable-audio-tools' DiffusionTransformer and ContinuousTransformer (models/dit.py,
models/transformer.py, commit 50049e3) for fixed-shape CPU programs:

- cross-attention keys and values arrive as inputs: they depend on the prompt alone, so the
  conditioner computes them once instead of once per step (see conditioning.py);
- the fused QKV and GLU projections are split, rotary angles are constant tables, and the
  attention scale is folded into the tables that multiply the query.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from arcmobile.export.model.config import DitConfig
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.primitives import (
    DynamicTanh,
    LayerNorm,
    UnitNorm,
    attention,
    fused_attention,
    silu,
)
from arcmobile.export.model.weights import Weights, linear, parameter, take_linear

_QK_NORM_EPS = 1e-6
_TIMESTEP_FEATURES = 256


def block_norm(config: DitConfig, weights: Weights, form: NetworkForm) -> nn.Module:
    """Build the norm in front of a block's branches."""
    if config.remove_norms:
        return DynamicTanh(weights, config.embed_dim)
    gamma = weights.take("gamma", config.embed_dim)
    return LayerNorm(gamma, weights.take("beta", config.embed_dim), config.norm_kwargs.eps, form)


def head_norm(config: DitConfig, weights: Weights, form: NetworkForm) -> nn.Module:
    """Build the norm of each head's queries or keys (``qk_norm``)."""
    kind, width = config.attn_kwargs.qk_norm, config.head_dim
    if kind == "ln":
        weight, bias = weights.take("weight", width), weights.take("bias", width)
        return LayerNorm(weight, bias, _QK_NORM_EPS, form)
    if kind == "dyt":
        return DynamicTanh(weights, width)
    return UnitNorm() if kind == "l2" else nn.Identity()


def rotary_frequencies(features: int) -> Tensor:
    """Inverse frequencies of rotary embedding for that many rotated features: ``(features/2,)``."""
    return 1.0 / (10000.0 ** (torch.arange(0, features, 2).float() / features))


class RotaryTable(nn.Module):
    """Constant cosine and sine tables for queries and keys, and their application.

    Rotary embedding turns the first ``rotary_dim`` features of each head, pairing feature i with
    i + rotary_dim/2. The tables cover the whole head (cosine 1 and sine 0 where nothing turns) and
    carry the sign of the pairing, so that application is one shuffle, two products and a sum.
    The query's tables are scaled by 1/sqrt(head_dim).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DitConfig, tokens: int, weights: Weights):
        super().__init__()
        self.pairs = config.rotary_dim // 2
        self.scale = config.head_dim**-0.5
        cos = torch.ones(tokens, config.head_dim)
        sin = torch.zeros(tokens, config.head_dim)
        half = self.pairs
        if half:
            inv_freq = weights.take("rotary_pos_emb.inv_freq", half)
            if not inv_freq.is_meta:
                angles = torch.outer(torch.arange(tokens, dtype=torch.float32), inv_freq)
                cos[:, :half] = cos[:, half : 2 * half] = angles.cos()
                sin[:, :half], sin[:, half : 2 * half] = -angles.sin(), angles.sin()
        self.register_buffer("cos", cos[:, None])  # (tokens, 1, head_dim): broadcast over heads
        self.register_buffer("sin", sin[:, None])

    def tables(self, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (query cos, query sin, key cos, key sin) for the first ``tokens`` positions."""
        cos, sin = self.cos[:tokens], self.sin[:tokens]
        return cos * self.scale, sin * self.scale, cos, sin

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate ``x`` (B, T, heads, head_dim)."""
        half = self.pairs
        if not half:
            return x * cos
        parts = [x[..., half : 2 * half], x[..., :half]]
        if 2 * half < x.shape[-1]:
            parts.append(x[..., 2 * half :])
        return x * cos + torch.cat(parts, dim=-1) * sin


class SelfAttention(nn.Module):
    """Self-attention with rotary positions (upstream transformer.py, Attention)."""

    def __init__(self, config: DitConfig, weights: Weights, form: NetworkForm):
        super().__init__()
        width = config.embed_dim
        self.heads, self.form = config.heads, form
        fused = weights.take("to_qkv.weight", 3 * width, width)
        query, key, value = fused.chunk(3)
        self.to_q, self.to_k, self.to_v = linear(query), linear(key), linear(value)
        self.q_norm = head_norm(config, weights.scope("q_norm"), form)
        self.k_norm = head_norm(config, weights.scope("k_norm"), form)
        self.to_out = take_linear(weights, "to_out", width, width, bias=False)

    def forward(
        self, x: Tensor, rotary: RotaryTable, tables: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor:
        """``x`` (B, T, embed_dim) -> (B, T, embed_dim)."""
        batch, tokens, width = x.shape
        q_cos, q_sin, k_cos, k_sin = tables

        def split(y: Tensor) -> Tensor:
            return y.view(batch, tokens, self.heads, -1)

        query = rotary.rotate(self.q_norm(split(self.to_q(x))), q_cos, q_sin)
        key = rotary.rotate(self.k_norm(split(self.to_k(x))), k_cos, k_sin)
        value = split(self.to_v(x))
        if self.form.fused_attention:
            query, key, value = (y.transpose(1, 2) for y in (query, key, value))
            return self.to_out(fused_attention(query, key, value))
        rows = batch * self.heads
        mixed = attention(
            query.permute(0, 2, 1, 3).reshape(rows, tokens, -1),
            key.permute(0, 2, 3, 1).reshape(rows, -1, tokens),
            value.permute(0, 2, 1, 3).reshape(rows, tokens, -1),
        )
        merged = mixed.view(batch, self.heads, tokens, -1).permute(0, 2, 1, 3)
        return self.to_out(merged.reshape(batch, tokens, width))


class CrossAttention(nn.Module):
    """Queries only: keys and values come from the conditioner."""

    def __init__(self, config: DitConfig, weights: Weights, form: NetworkForm):
        super().__init__()
        width = config.embed_dim
        self.heads, self.form, self.scale = config.heads, form, config.head_dim**-0.5
        self.to_q = take_linear(weights, "to_q", width, width, bias=False)
        self.q_norm = head_norm(config, weights.scope("q_norm"), form)
        self.to_out = take_linear(weights, "to_out", width, width, bias=False)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """``keys`` (B * heads, head_dim, S), ``values`` (B * heads, S, head_dim)."""
        batch, tokens, width = x.shape
        query = self.q_norm(self.to_q(x).view(batch, tokens, self.heads, -1)) * self.scale
        rows = batch * self.heads
        if self.form.fused_attention:
            key, value = (
                y.view(batch, self.heads, *y.shape[1:]) for y in (keys.transpose(1, 2), values)
            )
            return self.to_out(fused_attention(query.transpose(1, 2), key, value))
        query = query.permute(0, 2, 1, 3).reshape(rows, tokens, -1)
        mixed = attention(query, keys, values)
        merged = mixed.view(batch, self.heads, tokens, -1).permute(0, 2, 1, 3)
        return self.to_out(merged.reshape(batch, tokens, width))


class FeedForward(nn.Module):
    """``linear_out(value * silu(gate))``, or ``linear_out(silu(value))`` without GLU."""

    def __init__(self, config: DitConfig, weights: Weights):
        super().__init__()
        options, width = config.ff_kwargs, config.embed_dim
        inner = int(width * options.mult)
        self.gate: nn.Linear | None = None
        if options.glu:  # its projection has a bias whatever no_bias says
            weight = weights.take("ff.0.proj.weight", 2 * inner, width)
            bias = weights.take("ff.0.proj.bias", 2 * inner)
            self.value = linear(weight[:inner], bias[:inner])
            self.gate = linear(weight[inner:], bias[inner:])
        else:
            self.value = take_linear(weights, "ff.0.1", width, inner, bias=not options.no_bias)
        self.out = take_linear(weights, "ff.2", inner, width, bias=not options.no_bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, T, embed_dim) -> (B, T, embed_dim)."""
        value = self.value(x)
        hidden = silu(value) if self.gate is None else value * silu(self.gate(x))
        return self.out(hidden)


class TransformerBlock(nn.Module):
    """One block: self-attention, cross-attention, feed-forward, each added to its input."""

    def __init__(self, config: DitConfig, index: int, weights: Weights, form: NetworkForm):
        super().__init__()
        self.pre_norm = block_norm(config, weights.scope("pre_norm"), form)
        self.self_attn = SelfAttention(config, weights.scope("self_attn"), form)
        self.cross_attend_norm: nn.Module | None = None
        self.cross_attn: CrossAttention | None = None
        if config.cross_attends(index):
            self.cross_attend_norm = block_norm(config, weights.scope("cross_attend_norm"), form)
            self.cross_attn = CrossAttention(config, weights.scope("cross_attn"), form)
        self.ff_norm = block_norm(config, weights.scope("ff_norm"), form)
        self.ff = FeedForward(config, weights.scope("ff"))

        def layer_scale(name: str) -> nn.Parameter | None:
            if not config.layer_scale:
                return None
            return parameter(weights.scope(name).take("scale", config.embed_dim))

        self.self_attn_scale = layer_scale("self_attn_scale")
        self.cross_attn_scale = layer_scale("cross_attn_scale") if self.cross_attn else None
        self.ff_scale = layer_scale("ff_scale")
        self.to_scale_shift_gate: nn.Parameter | None = None
        if config.global_cond_type == "adaLN":
            table = weights.take("to_scale_shift_gate", 6 * config.embed_dim)
            self.to_scale_shift_gate = parameter(table)

    def forward(
        self,
        x: Tensor,
        keys: Tensor | None,
        values: Tensor | None,
        modulation: Tensor | None,
        rotary: RotaryTable,
        tables: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> Tensor:
        """``x`` (B, T, embed_dim); ``modulation`` (B, 6 * embed_dim) with adaLN, else None."""
        adaptive: tuple[Tensor, ...] | None = None
        if self.to_scale_shift_gate is not None and modulation is not None:
            adaptive = (self.to_scale_shift_gate + modulation).unsqueeze(1).chunk(6, dim=-1)

        hidden = self.pre_norm(x)
        if adaptive is not None:
            hidden = hidden * (adaptive[0] + 1.0) + adaptive[1]
        hidden = self.self_attn(hidden, rotary, tables)
        if adaptive is not None:
            hidden = hidden * torch.sigmoid(1.0 - adaptive[2])
        x = x + _scaled(hidden, self.self_attn_scale)

        if self.cross_attn is not None and self.cross_attend_norm is not None:
            hidden = self.cross_attn(self.cross_attend_norm(x), keys, values)
            x = x + _scaled(hidden, self.cross_attn_scale)

        hidden = self.ff_norm(x)
        if adaptive is not None:
            hidden = hidden * (adaptive[3] + 1.0) + adaptive[4]
        hidden = self.ff(hidden)
        if adaptive is not None:
            hidden = hidden * torch.sigmoid(1.0 - adaptive[5])
        return x + _scaled(hidden, self.ff_scale)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


class TimestepEmbedding(nn.Module):
    """Fourier features of the timestep and a two-layer MLP: ``(B,) -> (B, width)``."""

    def __init__(self, config: DitConfig, weights: Weights):
        super().__init__()
        width = config.time_width
        frequencies = weights.take("timestep_features.weight", _TIMESTEP_FEATURES // 2, 1)
        self.angular = parameter(frequencies.view(1, -1) * (2 * math.pi))
        scope = weights.scope("to_timestep_embed")
        self.hidden = take_linear(scope, "0", _TIMESTEP_FEATURES, width, bias=True)
        self.out = take_linear(scope, "2", width, width, bias=True)

    def forward(self, timestep: Tensor) -> Tensor:
        """``timestep`` (B,), 0 to 1 -> (B, width)."""
        angles = timestep.view(-1, 1) * self.angular
        features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.out(silu(self.hidden(features)))


class DiffusionTransformer(nn.Module):
    """The DiT without its conditioning projections, which live in the conditioner.

    Args:
        config: sizes and options.
        max_frames: the longest latent it will see; sizes the rotary tables.
        weights: at the upstream prefix ``model.model``.
        form: how to spell norms and attention.
    """

    def __init__(self, config: DitConfig, max_frames: int, weights: Weights, form: NetworkForm):
        super().__init__()
        self.config = config
        patched = config.patch_size
        channels, width = config.input_channels, config.embed_dim
        self.timestep = TimestepEmbedding(config, weights)
        pre = weights.take("preprocess_conv.weight", channels, channels, 1)
        post = weights.take("postprocess_conv.weight", config.io_channels, config.io_channels, 1)
        # 1x1 convolutions, applied as products on (B, T, channels).
        self.preprocess = linear(pre[..., 0])
        self.postprocess = linear(post[..., 0])
        scope = weights.scope("transformer")
        self.project_in = take_linear(scope, "project_in", channels * patched, width, bias=False)
        outputs = config.io_channels * patched
        self.project_out = take_linear(scope, "project_out", width, outputs, bias=False)
        self.memory_tokens: nn.Parameter | None = None
        if config.num_memory_tokens:
            memory = scope.take("memory_tokens", config.num_memory_tokens, width)
            self.memory_tokens = parameter(memory[None])
        tokens = config.prepended_tokens + max_frames // patched
        self.rotary = RotaryTable(config, tokens, scope)
        self.modulation: nn.Sequential | None = None
        if config.global_cond_type == "adaLN":
            embedder = scope.scope("global_cond_embedder")
            self.modulation = nn.Sequential(
                take_linear(embedder, "0", width, width, bias=True),
                nn.SiLU(),
                take_linear(embedder, "2", width, 6 * width, bias=True),
            )
        self.layers = nn.ModuleList(
            TransformerBlock(config, i, scope.scope(f"layers.{i}"), form)
            for i in range(config.depth)
        )

    def forward(
        self,
        latent: Tensor,
        timestep: Tensor,
        global_cond: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> Tensor:
        """Velocity of a noisy latent.

        Args:
            latent: ``(B, io_channels, frames)``.
            timestep: ``(B,)`` in [0, 1].
            global_cond: ``(B, embed_dim)``, projected global conditioning (zeros if there is none).
            cross_keys: ``(cross layers * B * heads, head_dim, cond_tokens)``.
            cross_values: ``(cross layers * B * heads, cond_tokens, head_dim)``.

        Returns:
            ``(B, io_channels, frames)``.
        """
        return self.project(
            self.hidden_states(latent, timestep, global_cond, cross_keys, cross_values)[-1]
        )

    def hidden_states(
        self,
        latent: Tensor,
        timestep: Tensor,
        global_cond: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> list[Tensor]:
        """Output of each block, ``(B, prepended + frames, embed_dim)``; arguments as forward."""
        config = self.config
        batch, _, frames = latent.shape
        time = self.timestep(timestep)
        x = latent.permute(0, 2, 1)
        cond = global_cond
        if config.timestep_cond_type == "global":
            cond = cond + time
        else:
            x = torch.cat([x, time.unsqueeze(1).expand(-1, frames, -1)], dim=-1)
        x = x + self.preprocess(x)
        if config.patch_size > 1:  # (t p) c -> t (c p)
            x = x.reshape(batch, -1, config.patch_size, x.shape[-1]).permute(0, 1, 3, 2)
            x = x.reshape(batch, frames // config.patch_size, -1)
        x = self.project_in(x)
        if config.has_global_token:
            x = torch.cat([cond.view(batch, 1, -1), x], dim=1)
        if self.memory_tokens is not None:
            x = torch.cat([self.memory_tokens.expand(batch, -1, -1), x], dim=1)

        modulation = None
        if self.modulation is not None and config.has_global_vector:
            modulation = self.modulation(cond)
        tables = self.rotary.tables(x.shape[1])
        rows = batch * config.heads
        states = []
        for index, layer in enumerate(self.layers):
            keys = values = None
            if config.cross_attends(index):
                keys = cross_keys[index * rows : (index + 1) * rows]
                values = cross_values[index * rows : (index + 1) * rows]
            x = layer(x, keys, values, modulation, self.rotary, tables)
            states.append(x)
        return states

    def project(self, state: Tensor) -> Tensor:
        """Turn the last block's output into velocity: ``(B, io_channels, frames)``."""
        config = self.config
        x = self.project_out(state[:, config.prepended_tokens :])
        batch, tokens, _ = x.shape
        if config.patch_size > 1:  # t (c p) -> (t p) c
            x = x.reshape(batch, tokens, config.io_channels, config.patch_size)
            x = x.permute(0, 1, 3, 2).reshape(batch, -1, config.io_channels)
        return (x + self.postprocess(x)).permute(0, 2, 1)
