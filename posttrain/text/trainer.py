"""Trains the text encoder to understand captions, so that a DiT finds meaning in them at once.

Its outputs, averaged over the tokens, go through one linear layer per thing to read in a caption
(:data:`.caption_reading.HEADS`): the class of the sound, its side, its pitch and so on. The layers
are thrown away afterwards. What is trained is the encoder that runs, from T5's initial values. Two
tensors stay as they are: the table of relative positions (a constant of that network, see
:func:`position_table`) and the gain of the last norm, which says how large the outputs are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from arcmobile.export.checkpoint.random_weights import COND_RMS, text_encoder_tensors
from arcmobile.export.model.config import T5Config
from arcmobile.export.model.t5 import T5Encoder
from arcmobile.export.model.weights import Weights
from arcmobile.posttrain.text.caption_examples import CaptionExample, batches_of, example
from arcmobile.posttrain.text.caption_reading import HEADS, UNKNOWN
from arcmobile.posttrain.training.mapping_source import MappingSource
from arcmobile.posttrain.training.networks import TRAINING
from arcmobile.posttrain.training.settings import TextSettings
from arcmobile.posttrain.training.state import adam_tensors, restore_adam, scoped, unscoped
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tokenizer_file import check_tokenizer_file

MAX_TOKENS = 64
"""Prompts are cut off there, as the pipeline does."""
_FAR, _SLOPE = -5.0, -0.5  # attention scores: out of sight, and per bucket of distance
_POOL = 8  # batches drawn together and sorted by length
_POSITIONS = "relative_attention_bias"
_FIXED = "encoder.final_layer_norm.weight"
_WEIGHTS = {"sound": 2.0, "second sound": 2.0}
_JUDGED_BATCH = 256


class CaptionTokenizer:
    """Token ids of many captions at once, as :class:`arcmobile.runtime.tokenizer` gives one's.

    Attributes: ``pieces``, the number of token ids.
    """

    def __init__(self, tokenizer_json: Path, pad_id: int, eos_id: int):
        """Raises CheckpointError for a file that is no tokenizer."""
        try:
            text = tokenizer_json.read_text(encoding="utf-8")
            self.pieces = check_tokenizer_file(text)
            self._tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise CheckpointError(f"{tokenizer_json}: not a tokenizer ({error})") from None
        self._pad_id, self._eos_id = pad_id, eos_id

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (B, longest) int64 and mask (B, longest) float32, at most :data:`MAX_TOKENS`."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(captions))]
        rows = [
            row if len(row) <= MAX_TOKENS else [*row[: MAX_TOKENS - 1], self._eos_id]
            for row in rows
        ]
        ids = torch.full((len(rows), max(map(len, rows))), self._pad_id)
        mask = torch.zeros(ids.shape)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1.0
        return ids, mask


class TrainableTextEncoder(nn.Module):
    """The encoder of :mod:`arcmobile.export.model.t5` with gradients, and the layers that read.

    Raises KeyError or ValueError where the tensors do not fit the config.
    """

    def __init__(self, config: T5Config, tensors: Mapping[str, Tensor]):
        super().__init__()
        weights = Weights(MappingSource(tensors))
        self.encoder = T5Encoder(config, MAX_TOKENS, weights, TRAINING)
        if weights.ledger.missing:
            raise KeyError(weights.ledger.missing[0])
        if weights.ledger.wrong_shape:
            raise ValueError(weights.ledger.wrong_shape[0])
        self._fixed = {name: tensor for name, tensor in tensors.items() if _POSITIONS in name}
        # A network asks for its tensors in the order in which it keeps its parameters.
        names = [name for name in weights.ledger.requested if _POSITIONS not in name]
        self.by_name = dict(zip(names, self.encoder.parameters(), strict=True))
        for name, parameter in self.by_name.items():
            parameter.requires_grad_(name != _FIXED)
        self.readers = nn.Linear(config.d_model, sum(len(values) for values in HEADS.values()))
        nn.init.zeros_(self.readers.weight)
        nn.init.zeros_(self.readers.bias)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and mask, T up to :data:`MAX_TOKENS` -> (B, T, d_model)."""
        tokens = ids.shape[1]
        # Distances between tokens are those of a longer text's beginning.
        bias = {"position_bias": self.encoder.position_bias[:, :tokens, :tokens]}
        embedded: Tensor = functional_call(self.encoder, bias, (ids, mask))
        return embedded

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits (B, values) per head of :data:`.caption_reading.HEADS`."""
        embedded = self.embed(ids, mask)
        total = (embedded * mask[:, :, None]).sum(1)
        pooled = total / (COND_RMS * mask.sum(1, keepdim=True))
        logits = self.readers(pooled).split([len(values) for values in HEADS.values()], dim=1)
        return dict(zip(HEADS, logits, strict=True))

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Copies under transformers' names, on the CPU."""
        trained = {name: value.detach().cpu().clone() for name, value in self.by_name.items()}
        return {**trained, **{name: value.clone() for name, value in self._fixed.items()}}


def initial_text_tensors(config: T5Config, seed: int) -> dict[str, Tensor]:
    """T5's values before training, by name, but for the table of relative positions."""
    plans = text_encoder_tensors(config)
    tensors = {plan.name: torch.from_numpy(plan.draw(seed)) for plan in plans}
    table = position_table(config.relative_attention_num_buckets, config.num_heads)
    return {name: table if _POSITIONS in name else value for name, value in tensors.items()}


def position_table(buckets: int, heads: int) -> Tensor:
    """Scores (buckets, heads) that stay as they are: one head in four looks at what stands before,
    one at what stands behind, one near by, one everywhere. "A bell, then rain" is another sound
    than "rain, then a bell", and from random scores that is learned slowly or not at all."""
    half = buckets // 2
    bucket = torch.arange(buckets)
    behind, distance = bucket >= half, bucket % half
    kinds = (
        _FAR * (behind | (distance == 0)),
        _FAR * (~behind),
        _SLOPE * distance,
        torch.zeros(buckets),
    )
    return torch.stack([kinds[head % len(kinds)].float() for head in range(heads)], dim=1)


def _targets(examples: Sequence[CaptionExample]) -> dict[str, Tensor]:
    """(B,) int64 per head."""
    return {head: torch.tensor([one.labels[head] for one in examples]) for head in HEADS}


class TextEncoderTrainer:
    """Adam on the sum of the readers' cross entropies; ``step`` counts the batches seen."""

    def __init__(self, config: T5Config, tokenizer: CaptionTokenizer, settings: TextSettings):
        self.settings, self.tokenizer, self.step = settings, tokenizer, 0
        self.network = TrainableTextEncoder(config, initial_text_tensors(config, settings.seed))
        self._parameters = {
            name: value for name, value in self.network.named_parameters() if value.requires_grad
        }
        self._optimizer = torch.optim.Adam(self._parameters.values(), settings.learning_rate)
        self._pool: list[list[CaptionExample]] = []

    def train_step(self) -> dict[str, float]:
        """One step on the next batch; returns the sum of the losses, and that of the class."""
        examples = self._next_batch()
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        total, of_class = self._losses(examples)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self.settings.clip)
        if bool(torch.isfinite(norm)):
            self._optimizer.step()
        self.step += 1
        report = {"loss": total, "sound_loss": of_class, "gradient": norm}
        return {name: value.item() for name, value in report.items()}

    @torch.no_grad()
    def probe(self) -> dict[str, Tensor]:
        """The loss of the present weights on the next batch; changes nothing."""
        return {"loss": self._losses(self._next_batch())[0]}

    def _losses(self, examples: Sequence[CaptionExample]) -> tuple[Tensor, Tensor]:
        """The weighted sum over all heads, and the loss of the class."""
        logits = self.network(*self.tokenizer([one.text for one in examples]))
        losses = {
            head: F.cross_entropy(logits[head], target, ignore_index=UNKNOWN)
            for head, target in _targets(examples).items()
            if bool((target != UNKNOWN).any())
        }
        weighted = [_WEIGHTS.get(head, 1.0) * loss for head, loss in losses.items()]
        return torch.stack(weighted).sum(), losses["sound"]

    def _next_batch(self) -> list[CaptionExample]:
        """Depends on the seed and the step alone."""
        pool, place = divmod(self.step, _POOL)
        if not self._pool or place == 0:
            rng = np.random.default_rng([self.settings.seed, pool])
            drawn = [example(rng) for _ in range(_POOL * self.settings.batch)]
            batches = batches_of(drawn, self.settings.batch)
            self._pool = [batches[index] for index in rng.permutation(_POOL)]
        return self._pool[place]

    def _rate(self) -> float:
        settings = self.settings
        part = min(self.step / settings.steps, 1.0)
        warm = min((self.step + 1) / settings.warmup, 1.0)
        return settings.learning_rate * warm * float(0.5 + 0.5 * np.cos(np.pi * part))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What :meth:`restore` takes."""
        values = {name: value.detach() for name, value in self._parameters.items()}
        moments = adam_tensors(self._optimizer, self._parameters)
        tensors = {**scoped("network", values), **scoped("adam", moments)}
        return tensors, {"step": self.step, "settings": asdict(self.settings)}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Goes on from a state; raises KeyError or RuntimeError for one of another network."""
        values = unscoped("network", tensors)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(values[name])
        restore_adam(self._optimizer, self._parameters, unscoped("adam", tensors))
        self.step, self._pool = int(header["step"]), []


def accuracies(
    network: TrainableTextEncoder, tokenizer: CaptionTokenizer, examples: Sequence[CaptionExample]
) -> dict[str, float]:
    """Per head, the part of the captions in which it is read right, of those that say it.

    ``said`` of a head counts no None; heads that no caption says are left out.
    """
    right: dict[str, list[bool]] = {}
    for batch in batches_of(examples, _JUDGED_BATCH):
        with torch.no_grad():
            logits = network(*tokenizer([one.text for one in batch]))
        for head, target in _targets(batch).items():
            hits = logits[head].argmax(1) == target
            known, none = target != UNKNOWN, HEADS[head].index(None) if None in HEADS[head] else -1
            said = known & (target != none)
            right.setdefault(head, []).extend(hits[known].tolist())
            right.setdefault(f"{head} said", []).extend(hits[said].tolist())
    return {name: round(float(np.mean(hits)), 5) for name, hits in right.items() if hits}
