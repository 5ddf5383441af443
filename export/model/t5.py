"""T5 encoder: token ids -> text embeddings.

After "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (Raffel
et al., 2020) and transformers' T5EncoderModel, whose tensor names it takes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.export.model.config import T5Config
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.primitives import RmsNorm, attention, fused_attention, silu
from arcmobile.export.model.weights import Weights, parameter, take_linear

# Added to the scores of padded keys: far below any score, and still finite in float16.
_PADDED = -1e4


def relative_buckets(tokens: int, buckets: int, max_distance: int) -> Tensor:
    """Bucket of each (query, key) distance, ``(tokens, tokens)`` int64; bidirectional.

    Half of the buckets for each direction; exact up to a quarter, logarithmic beyond
    (Raffel et al., section 2.1; transformers T5Attention._relative_position_bucket).
    """
    position = torch.arange(tokens)
    distance = position[None, :] - position[:, None]
    half = buckets // 2
    exact = half // 2
    magnitude = distance.abs()
    log_steps = (
        torch.log(magnitude.clamp_min(1).float() / exact) / math.log(max_distance / exact)
    ) * (half - exact)
    far = (exact + log_steps.long()).clamp_max(half - 1)
    return torch.where(magnitude < exact, magnitude, far) + (distance > 0).long() * half


class T5Attention(nn.Module):
    """Self-attention with a bias for relative positions (transformers, T5Attention)."""

    def __init__(self, config: T5Config, weights: Weights, form: NetworkForm):
        super().__init__()
        inner = config.num_heads * config.d_kv
        self.heads, self.form = config.num_heads, form
        self.q = take_linear(weights, "q", config.d_model, inner, bias=False)
        self.k = take_linear(weights, "k", config.d_model, inner, bias=False)
        self.v = take_linear(weights, "v", config.d_model, inner, bias=False)
        self.o = take_linear(weights, "o", inner, config.d_model, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x`` (B, T, d_model), ``bias`` (B * heads, T, T) -> (B, T, d_model)."""
        batch, tokens, _ = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, tokens, self.heads, -1)

        query, key, value = split(self.q(x)), split(self.k(x)), split(self.v(x))
        if self.form.fused_attention:
            query, key, value = (y.transpose(1, 2) for y in (query, key, value))
            by_head = bias.view(batch, self.heads, tokens, tokens)
            return self.o(fused_attention(query, key, value, by_head))
        query = query.permute(0, 2, 1, 3).reshape(batch * self.heads, tokens, -1)
        key = key.permute(0, 2, 3, 1).reshape(batch * self.heads, -1, tokens)
        value = value.permute(0, 2, 1, 3).reshape(batch * self.heads, tokens, -1)
        mixed = attention(query, key, value, bias)
        merged = mixed.view(batch, self.heads, tokens, -1).permute(0, 2, 1, 3)
        return self.o(merged.reshape(batch, tokens, -1))


class T5FeedForward(nn.Module):
    """Feed-forward network, gated or not (transformers, T5LayerFF)."""

    def __init__(self, config: T5Config, weights: Weights):
        super().__init__()
        self.activation = config.activation
        width, inner = config.d_model, config.d_ff
        name = "wi_0" if config.gated else "wi"
        self.wi = take_linear(weights, name, width, inner, bias=False)
        self.gate = take_linear(weights, "wi_1", width, inner, bias=False) if config.gated else None
        self.wo = take_linear(weights, "wo", inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, T, d_model) -> (B, T, d_model)."""
        hidden = self.wi(x)
        if self.activation == "relu":
            hidden = F.relu(hidden)
        elif self.activation == "silu":
            hidden = silu(hidden)
        else:
            hidden = F.gelu(
                hidden, approximate="tanh" if self.activation == "gelu_tanh" else "none"
            )
        if self.gate is not None:
            hidden = hidden * self.gate(x)
        return self.wo(hidden)


class T5Block(nn.Module):
    """Attention and feed-forward network, each normed before and added to its input."""

    def __init__(self, config: T5Config, weights: Weights, form: NetworkForm):
        super().__init__()
        attn, ff = weights.scope("layer.0"), weights.scope("layer.1")
        eps, width = config.layer_norm_epsilon, config.d_model
        self.attn_norm = RmsNorm(attn.scope("layer_norm").take("weight", width), eps, form)
        self.attn = T5Attention(config, attn.scope("SelfAttention"), form)
        self.ff_norm = RmsNorm(ff.scope("layer_norm").take("weight", width), eps, form)
        self.ff = T5FeedForward(config, ff.scope("DenseReluDense"))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x`` (B, T, d_model), ``bias`` (B * heads, T, T) -> (B, T, d_model)."""
        x = x + self.attn(self.attn_norm(x), bias)
        return x + self.ff(self.ff_norm(x))


class T5Encoder(nn.Module):
    """Token ids and mask to embeddings, for a fixed number of tokens.

    The relative position bias depends on the token count alone, so it is a constant.
    """

    position_bias: Tensor

    def __init__(self, config: T5Config, tokens: int, weights: Weights, form: NetworkForm):
        super().__init__()
        self.heads = config.num_heads
        name = "shared" if weights.has("shared.weight") else "encoder.embed_tokens"
        if not weights.has(f"{name}.weight"):
            name = "shared"
        table = weights.scope(name).take("weight", config.vocab_size, config.d_model)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model, device="meta")
        self.embedding.weight = parameter(table)
        scope = weights.scope("encoder")
        self.blocks = nn.ModuleList(
            T5Block(config, scope.scope(f"block.{i}"), form) for i in range(config.num_layers)
        )
        self.norm = RmsNorm(
            scope.scope("final_layer_norm").take("weight", config.d_model),
            config.layer_norm_epsilon,
            form,
        )
        bias_table = scope.scope("block.0.layer.0.SelfAttention.relative_attention_bias").take(
            "weight", config.relative_attention_num_buckets, config.num_heads
        )
        buckets = relative_buckets(
            tokens, config.relative_attention_num_buckets, config.relative_attention_max_distance
        )
        if bias_table.is_meta:
            bias = torch.empty((config.num_heads, tokens, tokens), device="meta")
        else:
            bias = bias_table[buckets].permute(2, 0, 1).contiguous()
        self.register_buffer("position_bias", bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``input_ids`` (B, T) int, ``attention_mask`` (B, T) float 1/0 -> (B, T, d_model)."""
        batch, tokens = input_ids.shape
        padded = ((1.0 - attention_mask) * _PADDED).view(batch, 1, 1, tokens)
        bias = (self.position_bias + padded).view(batch * self.heads, tokens, tokens)
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)
