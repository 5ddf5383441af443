"""Conditioner: prompt tokens and numbers -> everything the DiT needs, once per prompt.

Holds the text encoder and the number embedders (upstream conditioners.py, adp.py) and those parts
of the DiT that see the conditioning alone (dit.py, transformer.py): the projections of the cross
tokens and of the global vector, and every layer's cross-attention keys and values. Moving the
latter here saves their products on each of the sampler's steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from arcmobile.export.model.config import DitConfig, ModelConfig, NumberConditionerConfig, T5Config
from arcmobile.export.model.dit import head_norm
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.primitives import silu
from arcmobile.export.model.t5 import T5Encoder
from arcmobile.export.model.weights import Weights, linear, parameter, take_linear

_NUMBER_FEATURES = 256


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    """Return ``torch.cat``, but a single part as it is: XNNPACK refuses a concatenation of one."""
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]


class NumberEmbedder(nn.Module):
    """A clamped, normalised number to an embedding: ``(B,) -> (B, width)``.

    Features are the number itself, sines and cosines (adp.py, LearnedPositionalEmbedding).
    """

    def __init__(self, config: NumberConditionerConfig, width: int, weights: Weights):
        super().__init__()
        self.minimum, self.maximum = config.min_val, config.max_val
        scope = weights.scope("embedder.embedding")
        frequencies = scope.take("0.weights", _NUMBER_FEATURES // 2)
        self.angular = parameter(frequencies.view(1, -1) * (2 * math.pi))
        self.out = take_linear(scope, "1", _NUMBER_FEATURES + 1, width, bias=True)

    def forward(self, number: Tensor) -> Tensor:
        """``number`` (B,) -> (B, width)."""
        span = self.maximum - self.minimum
        x = (number.clamp(self.minimum, self.maximum) - self.minimum) * (1.0 / span)
        x = x.view(-1, 1)
        angles = x * self.angular
        return self.out(torch.cat([x, angles.sin(), angles.cos()], dim=-1))


class CrossProjection(nn.Module):
    """One layer's keys and values of the conditioning tokens."""

    def __init__(self, config: DitConfig, weights: Weights, form: NetworkForm):
        super().__init__()
        width = config.context_dim
        self.kv_heads, self.repeats = config.kv_heads, config.heads // config.kv_heads
        fused = weights.take("to_kv.weight", 2 * width, width)
        key, value = fused.chunk(2)
        self.to_k, self.to_v = linear(key), linear(value)
        self.k_norm = head_norm(config, weights.scope("k_norm"), form)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, width) -> keys (B*heads, head_dim, S) and values (B*heads, S, head_dim)."""
        batch, count, _ = tokens.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, count, self.kv_heads, -1)

        keys = self.k_norm(split(self.to_k(tokens))).permute(0, 2, 3, 1)
        values = split(self.to_v(tokens)).permute(0, 2, 1, 3)
        if self.repeats > 1:  # grouped heads: each key/value head serves several query heads
            keys = keys.repeat_interleave(self.repeats, dim=1)
            values = values.repeat_interleave(self.repeats, dim=1)
        return keys.reshape(-1, *keys.shape[2:]), values.reshape(-1, *values.shape[2:])


class Conditioner(nn.Module):
    """Text and numbers to the DiT's conditioning inputs.

    Args:
        config: the whole model's config.
        text_config: the text encoder's.
        weights: the checkpoint's tensors from the top.
        text_weights: the text encoder's tensors, used unless the checkpoint holds its own.
        form: how to spell norms and attention.
    """

    def __init__(
        self,
        config: ModelConfig,
        text_config: T5Config,
        weights: Weights,
        text_weights: Weights,
        form: NetworkForm,
    ):
        super().__init__()
        conditioning, dit = config.conditioning, config.dit
        context = dit.context_dim
        text = conditioning.text
        width = conditioning.width(text.id)
        scope = weights.scope("conditioner.conditioners")
        if text.config.enable_grad:
            text_weights = scope.scope(f"{text.id}.model")
        self.text_id = text.id
        self.text = T5Encoder(text_config, text.config.max_length, text_weights, form)
        self.text_projection: nn.Linear | None = None
        if text.config.project_out or text_config.d_model != width:
            self.text_projection = take_linear(
                scope.scope(text.id), "proj_out", text_config.d_model, width, bias=True
            )
        self.number_ids = tuple(number.id for number in conditioning.numbers)
        self.numbers = nn.ModuleDict(
            {
                number.id: NumberEmbedder(
                    number.config, conditioning.width(number.id), scope.scope(number.id)
                )
                for number in conditioning.numbers
            }
        )
        self.cross_ids = config.model.diffusion.cross_attention_cond_ids
        self.global_ids = config.model.diffusion.global_cond_ids
        self.embed_dim = dit.embed_dim

        model = weights.scope("model.model")
        cross = model.scope("to_cond_embed")
        self.to_cross_hidden = take_linear(cross, "0", dit.cond_token_dim, context, bias=False)
        self.to_cross = take_linear(cross, "2", context, context, bias=False)
        self.to_global_hidden: nn.Linear | None = None
        self.to_global: nn.Linear | None = None
        if dit.global_cond_dim:
            glob, embed = model.scope("to_global_embed"), dit.global_embed_dim
            self.to_global_hidden = take_linear(glob, "0", dit.global_cond_dim, embed, bias=False)
            self.to_global = take_linear(glob, "2", embed, embed, bias=False)
        layers = model.scope("transformer.layers")
        self.cross_layers = nn.ModuleList(
            CrossProjection(dit, layers.scope(f"{i}.cross_attn"), form)
            for i in range(dit.depth)
            if dit.cross_attends(i)
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Conditioning of a prompt.

        Args:
            input_ids: ``(B, tokens)`` int.
            attention_mask: ``(B, tokens)`` float, 1 = token, 0 = padding.
            numbers: one ``(B,)`` float per number conditioner, in config order.

        Returns:
            global_cond ``(B, embed_dim)``, cross_keys ``(layers*B*heads, head_dim, cond_tokens)``,
            cross_values ``(layers*B*heads, cond_tokens, head_dim)``.
        """
        embedded = self.embed(input_ids, attention_mask, *numbers)
        keys, values = self.project_cross(self.cross_tokens(embedded))
        vector = self.global_vector(embedded)
        return self.project_global(vector, input_ids.shape[0]), keys, values

    def embed(
        self, input_ids: Tensor, attention_mask: Tensor, *numbers: Tensor
    ) -> dict[str, Tensor]:
        """Embedding rows of every conditioner: ``(B, rows, width)`` by id."""
        embedded = {self.text_id: self.embed_text(input_ids, attention_mask)}
        batch = input_ids.shape[0]
        for name, number in zip(self.number_ids, numbers, strict=True):
            embedded[name] = self.numbers[name](number).view(batch, 1, -1)
        return embedded

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Prompt rows ``(B, tokens, cond_dim)``.

        Padded rows are zeroed *after* the projection, bias included, as upstream does.
        """
        rows = self.text(input_ids, attention_mask)
        if self.text_projection is not None:
            rows = self.text_projection(rows)
        batch, tokens = input_ids.shape
        return rows * attention_mask.view(batch, tokens, 1)

    def cross_tokens(self, embedded: dict[str, Tensor]) -> Tensor:
        """Return ``(B, cond_tokens, cond_dim)`` in the order of ``cross_attention_cond_ids``."""
        parts = [embedded[name] for name in self.cross_ids]
        return _joined(parts, 1)

    def cross_context(self, tokens: Tensor) -> Tensor:
        """Return the cross tokens at the transformer's width: ``(B, cond_tokens, context_dim)``."""
        return self.to_cross(silu(self.to_cross_hidden(tokens)))

    def project_cross(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Every layer's keys and values of the cross tokens, layer-major (see forward)."""
        context = self.cross_context(tokens)
        pairs = [layer(context) for layer in self.cross_layers]
        return _joined([k for k, _ in pairs], 0), _joined([v for _, v in pairs], 0)

    def global_vector(self, embedded: dict[str, Tensor]) -> Tensor | None:
        """Return ``(B, global_cond_dim)``, or None if the model has no global conditioning."""
        if not self.global_ids:
            return None
        parts = [embedded[name] for name in self.global_ids]
        joined = _joined(parts, -1)
        return joined.view(joined.shape[0], -1)

    def project_global(self, vector: Tensor | None, batch: int) -> Tensor:
        """Project ``vector`` (B, global_cond_dim) to (B, embed_dim); zeros if there is none."""
        if vector is None or self.to_global_hidden is None or self.to_global is None:
            return torch.zeros(batch, self.embed_dim)
        return self.to_global(silu(self.to_global_hidden(vector)))
