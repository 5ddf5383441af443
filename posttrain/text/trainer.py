"""Trains the text encoder to understand captions, so that a DiT finds meaning in them at once.

Its outputs, averaged over the tokens, go through one linear layer per attribute that a caption may
state (:data:`.caption_reading.HEADS`): the class of the sound, its side, its pitch and so on. These
layers are discarded afterwards. The encoder is trained from T5's initial values. Two tensors stay
as they are: the table of relative positions (a constant of that network, see
:func:`position_table`) and the gain of the last norm, which sets the size of the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from arcmobile.posttrain.text.caption_examples import CaptionExample, batches_of, random_example
from arcmobile.posttrain.text.caption_reading import HEADS, UNKNOWN
from arcmobile.posttrain.training.settings import TextSettings
from arcmobile.posttrain.training.trainable import TRAINING, InMemorySource, require_fitting
from arcmobile.posttrain.training.trainer import StatefulTrainer
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tokenizer_file import check_tokenizer_file

MAX_TOKENS = 64
"""Longest prompt; the pipeline cuts longer ones too."""
_FAR, _SLOPE = -5.0, -0.5  # attention scores: out of sight, and per bucket of distance
_POOL = 8  # batches made together and sorted by length
_POSITIONS = "relative_attention_bias"
_FIXED = "encoder.final_layer_norm.weight"
_WEIGHTS = {"sound": 2.0, "second sound": 2.0}
_EVALUATION_BATCH = 256


class CaptionTokenizer:
    """Tokenizes many captions at once, as :mod:`arcmobile.runtime.tokenizer` does one.

    Attributes:
        pieces: number of token ids.

    Raises:
        CheckpointError: the file is not a tokenizer.
    """

    def __init__(self, tokenizer_json: Path, pad_id: int, eos_id: int):
        try:
            text = tokenizer_json.read_text(encoding="utf-8")
            self.pieces = check_tokenizer_file(text)
            self._tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise CheckpointError(f"{tokenizer_json}: not a tokenizer ({error})") from None
        self._pad_id, self._eos_id = pad_id, eos_id

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids (B, L) int64 and mask (B, L) float32, L at most :data:`MAX_TOKENS`."""
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
    """The encoder of :mod:`arcmobile.export.model.t5` with gradients, and its linear heads.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """

    def __init__(self, config: T5Config, tensors: Mapping[str, Tensor]):
        super().__init__()
        weights = Weights(InMemorySource(tensors))
        self.encoder = T5Encoder(config, MAX_TOKENS, weights, TRAINING)
        require_fitting(weights)
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
        """Map ids and mask (B, T), T up to :data:`MAX_TOKENS`, to (B, T, d_model)."""
        tokens = ids.shape[1]
        # Distances between tokens are those of a longer text's beginning.
        bias = {"position_bias": self.encoder.position_bias[:, :tokens, :tokens]}
        embedded: Tensor = functional_call(self.encoder, bias, (ids, mask))
        return embedded

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return logits (B, values) per head of :data:`.caption_reading.HEADS`."""
        embedded = self.embed(ids, mask)
        total = (embedded * mask[:, :, None]).sum(1)
        pooled = total / (COND_RMS * mask.sum(1, keepdim=True))
        logits = self.readers(pooled).split([len(values) for values in HEADS.values()], dim=1)
        return dict(zip(HEADS, logits, strict=True))

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Return copies under transformers' names, on the CPU."""
        trained = {name: value.detach().cpu().clone() for name, value in self.by_name.items()}
        return {**trained, **{name: value.clone() for name, value in self._fixed.items()}}


def initial_text_tensors(config: T5Config, seed: int) -> dict[str, Tensor]:
    """Return T5's values before training, with the table of relative positions replaced."""
    plans = text_encoder_tensors(config)
    tensors = {plan.name: torch.from_numpy(plan.draw(seed)) for plan in plans}
    table = position_table(config.relative_attention_num_buckets, config.num_heads)
    return {name: table if _POSITIONS in name else value for name, value in tensors.items()}


def position_table(buckets: int, heads: int) -> Tensor:
    """Return the fixed scores (buckets, heads) of relative positions.

    One head in four looks at the tokens before, one at those after, one at those near by, one
    everywhere. "A bell, then rain" is not the same sound as "rain, then a bell", and from random
    scores that is learned slowly or not at all.
    """
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
    return {head: torch.tensor([item.labels[head] for item in examples]) for head in HEADS}


class TextEncoderTrainer(StatefulTrainer):
    """Adam on the sum of the heads' cross entropies.

    Args:
        config: of the text encoder.
        tokenizer: of its vocabulary.
        settings: of the training.
    """

    settings: TextSettings

    def __init__(self, config: T5Config, tokenizer: CaptionTokenizer, settings: TextSettings):
        super().__init__(settings)
        self.tokenizer = tokenizer
        self.network = TrainableTextEncoder(config, initial_text_tensors(config, settings.seed))
        self._parameters = {
            name: value for name, value in self.network.named_parameters() if value.requires_grad
        }
        self._adam = torch.optim.Adam(self._parameters.values())
        self._keep({"network": self._parameters}, {"adam": (self._adam, self._parameters)})
        self._pool: list[list[CaptionExample]] = []

    def train_step(self) -> dict[str, float]:
        """Take one step on the next batch; return the sum of the losses, and the class's loss."""
        total, of_class = self._losses(self._next_batch())
        rate = self.settings.learning_rate * self.settings.rate_at(self.step)
        norm = self._descend((self._adam,), self._parameters, rate, total)
        self.step += 1
        report = {"loss": total, "sound_loss": of_class, "gradient": norm}
        return {name: value.item() for name, value in report.items()}

    @torch.no_grad()
    def probe(self) -> dict[str, Tensor]:
        """Return the loss of the present weights on the next batch; change nothing."""
        return {"loss": self._losses(self._next_batch())[0]}

    def _losses(self, examples: Sequence[CaptionExample]) -> tuple[Tensor, Tensor]:
        """The weighted sum over all heads, and the loss of the class."""
        logits = self.network(*self.tokenizer([example.text for example in examples]))
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
            examples = [random_example(rng) for _ in range(_POOL * self.settings.batch)]
            batches = batches_of(examples, self.settings.batch)
            self._pool = [batches[index] for index in rng.permutation(_POOL)]
        return self._pool[place]

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: a tensor is of another shape.
        """
        super().restore(tensors, header)
        self._pool = []


def accuracies(
    network: TrainableTextEncoder, tokenizer: CaptionTokenizer, examples: Sequence[CaptionExample]
) -> dict[str, float]:
    """Return the share of right labels per head.

    ``HEAD said`` counts only the captions that state it; heads that no caption states are left out.
    """
    right: dict[str, list[bool]] = {}
    for batch in batches_of(examples, _EVALUATION_BATCH):
        with torch.no_grad():
            logits = network(*tokenizer([example.text for example in batch]))
        for head, target in _targets(batch).items():
            hits = logits[head].argmax(1) == target
            known, none = target != UNKNOWN, HEADS[head].index(None) if None in HEADS[head] else -1
            said = known & (target != none)
            right.setdefault(head, []).extend(hits[known].tolist())
            right.setdefault(f"{head} said", []).extend(hits[said].tolist())
    return {name: round(float(np.mean(hits)), 5) for name, hits in right.items() if hits}
