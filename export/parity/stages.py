"""What the networks compute for each array of a parity folder.

Stages are fed with upstream's inputs to that stage, so that an error shows where it arises.
References are float32: upstream runs its text encoder in float16, so what depends on it is compared
with the ``_t5fp32`` arrays or starts from upstream's own embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import SCHEDULE, folder_tokenizer
from arcmobile.export.model.conditioning import Conditioner
from arcmobile.export.model.dit import DiffusionTransformer, rotary_frequencies
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.oobleck import OobleckDecoder, OobleckEncoder, folded_weight
from arcmobile.export.model.weights import Weights
from arcmobile.export.parity.arrays import ParityArrays, RecordedNoise
from arcmobile.runtime.sampler import pingpong
from arcmobile.runtime.schedule import MAX_STEPS, pingpong_schedule
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, ENCODER
from arcmobile.runtime.tokenizer import TokenizedPrompt

_SCHEDULE = re.compile(r"schedule\.steps(\d+)(?:_sigma_max([0-9.]+))?")
_ROTARY = re.compile(r"unit\.rotary_freqs_dim_heads(\d+)")
_FOLDED = re.compile(r"folded\.(.+)\.weight")
_EULER = re.compile(r"(euler(\d+))\.noise_init")

Outputs = Mapping[str, Tensor | NDArray[Any]]  # by the name of the array to compare with
Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, t) -> v


@dataclass(frozen=True)
class Conditioning:
    """Projected conditioning of a batch: the DiT's inputs."""

    global_cond: Tensor
    keys: Tensor
    values: Tensor


class ParityStages:
    """The networks of a folder, and what they make of its inputs.

    A stage yields nothing where an input it needs is not stored. Raises
    :class:`~arcmobile.runtime.errors.CheckpointError` for inputs that do not fit the config.
    """

    def __init__(self, folder: CheckpointFolder, arrays: ParityArrays, form: NetworkForm):
        config = folder.config
        # Constant tables are sized by the config, and recorded latents may be longer.
        samples = arrays.longest_latent() * config.samples_per_frame
        longer = config.model_copy(update={"sample_size": max(samples, config.sample_size)})
        self.folder, self.arrays, self.form = replace(folder, config=longer), arrays, form
        self.config = longer
        self.channels = config.autoencoder.latent_dim

    def all(self) -> dict[str, Callable[[], Iterator[Outputs]]]:
        """Return the stages by name, in the order of the data flow."""
        return {
            "tokens": self._tokens,
            "schedule": self._schedules,
            "rotary": self._rotary,
            "weight norm": self._folded,
            "text encoder": self._text,
            "numbers": self._numbers,
            "conditioning": self._cond,
            "dit": self._dit,
            "ping-pong": self._trajectories,
            "euler": self._euler,
            "decoder": self._decoder,
            "encoder": self._encoder,
            "audio to audio": self._audio_to_audio,
            "end to end": self._end_to_end,
        }

    @cached_property
    def conditioner(self) -> Conditioner:
        """The network of the conditioner."""
        return cast(Conditioner, self.folder.build(CONDITIONER, self.form))

    @cached_property
    def dit(self) -> DiffusionTransformer:
        """The network of the DiT."""
        return cast(DiffusionTransformer, self.folder.build(DIT, self.form))

    @cached_property
    def decoder(self) -> OobleckDecoder:
        """The network of the whole decoder."""
        return cast(OobleckDecoder, self.folder.build(DECODER, self.form))

    @cached_property
    def encoder(self) -> OobleckEncoder:
        """The network of the encoder."""
        return cast(OobleckEncoder, self.folder.build(ENCODER, self.form))

    # --- text and conditioning -------------------------------------------------------------------

    def _tokenize(self, prompts: list[str]) -> list[TokenizedPrompt]:
        tokenizer = folder_tokenizer(self.folder)
        return [tokenizer(prompt) for prompt in prompts]

    def _tokens(self) -> Iterator[Outputs]:
        texts = self.arrays.texts
        if "prompts" in texts:
            found = self._tokenize(texts["prompts"])
            yield {
                "prompts_token_count_untruncated": np.array([one.count for one in found]),
                "input_ids": np.concatenate([one.input_ids for one in found]),
                "attention_mask": np.concatenate([one.attention_mask for one in found]),
            }
        if "tok_extra.prompts" in texts:
            found = self._tokenize(texts["tok_extra.prompts"])
            yield {"tok_extra.input_ids": np.concatenate([one.input_ids for one in found])}

    def _text(self) -> Iterator[Outputs]:
        if not self.arrays.has("input_ids", "attention_mask"):
            return
        tokens = self.config.conditioning.text.config.max_length
        ids = self.arrays.tensor("input_ids", None, tokens).int()
        mask = self.arrays.tensor("attention_mask", None, tokens)
        if "t5_last_hidden_state_t5fp32" in self.arrays:
            count = len(self.arrays.array("t5_last_hidden_state_t5fp32"))
            hidden = self.conditioner.text(ids[:count], mask[:count])
            yield {"t5_last_hidden_state_t5fp32": hidden}
        if "prompt_embeds_t5fp32" in self.arrays:
            yield {"prompt_embeds_t5fp32": self.conditioner.embed_text(ids, mask)}

    def _numbers(self) -> Iterator[Outputs]:
        for name in self.conditioner.number_ids:
            if self.arrays.has(name, f"{name}_embeds"):
                found = self.conditioner.numbers[name](self.arrays.tensor(name, None))
                yield {f"{name}_embeds": found}

    def _numbers_of(self) -> list[Tensor] | None:
        """Return each number conditioner's value for each stored case; None if one is not stored.

        A conditioner without an array of its own reads that of its default key.
        """
        found: list[Tensor] = []
        for name in self.conditioner.number_ids:
            default = self.config.conditioning.default_keys.get(name, name)
            stored = [n for n in (f"cond.{name}", f"cond.{default}") if n in self.arrays]
            if not stored:
                return None
            found.append(self.arrays.tensor(stored[0], len(found[0]) if found else None))
        return found

    def _cond(self) -> Iterator[Outputs]:
        """Assembly of the conditioning, from the stored prompt rows and our number rows."""
        numbers, text = self._numbers_of(), self.config.conditioning.text
        if numbers is None or not self.arrays.has("prompt_embeds"):
            return
        width = self.config.conditioning.width(text.id)
        count = len(numbers[0]) if numbers else None
        rows = self.arrays.tensor("prompt_embeds", count, text.config.max_length, width)
        embedded = {text.id: rows}
        for name, number in zip(self.conditioner.number_ids, numbers, strict=True):
            embedded[name] = self.conditioner.numbers[name](number).unsqueeze(1)
        outputs = {"cond.cross_attn_cond": self.conditioner.cross_tokens(embedded)}
        vector = self.conditioner.global_vector(embedded)
        if vector is not None:
            outputs["cond.global_cond"] = vector
        if "attention_mask" in self.arrays:
            masks = {name: torch.ones(len(rows), 1) for name in embedded}
            masks[text.id] = self.arrays.tensor("attention_mask", *rows.shape[:2])
            outputs["cond.cross_attn_mask"] = self.conditioner.cross_tokens(masks)
        yield outputs

    def _cross_tokens(self) -> Tensor:
        width = self.config.dit.cond_token_dim
        return self.arrays.tensor("cond.cross_attn_cond", None, self.config.cond_tokens, width)

    def _case_rows(self, name: str) -> NDArray[np.int64]:
        return self.arrays.rows(name, len(self._cross_tokens()))

    def _conditioning(self, rows: NDArray[np.int64]) -> Conditioning:
        """Return the DiT's conditioning of stored rows of ``cond.*``."""
        tokens, vector = self._cross_tokens(), None
        if self.conditioner.global_ids:
            width = self.config.dit.global_cond_dim
            vector = self.arrays.tensor("cond.global_cond", len(tokens), width)[rows]
        keys, values = self.conditioner.project_cross(tokens[rows])
        return Conditioning(self.conditioner.project_global(vector, len(rows)), keys, values)

    def _other(self, like: NDArray[np.int64], negative: NDArray[np.int64] | None) -> Conditioning:
        """Conditioning of guidance's other half (upstream dit.py, classifier-free guidance).

        Cross tokens are zeros or those of negative prompts; the global vector is the positive one.
        """
        tokens = torch.zeros_like(self._cross_tokens()[like])
        if negative is not None:
            mask = self.arrays.tensor("cond.cross_attn_mask", None, tokens.shape[1])[negative]
            tokens = torch.where(mask[..., None] > 0, self._cross_tokens()[negative], tokens)
        keys, values = self.conditioner.project_cross(tokens)
        return Conditioning(self._conditioning(like).global_cond, keys, values)

    def _conditioned(self) -> bool:
        """Tell whether the conditioning of the DiT is stored."""
        names = ["cond.cross_attn_cond"]
        if self.conditioner.global_ids:
            names.append("cond.global_cond")
        return self.arrays.has(*names)

    # --- diffusion transformer and sampling ------------------------------------------------------

    def _velocity(self, cond: Conditioning) -> Velocity:
        return lambda x, t: self.dit(x, t, cond.global_cond, cond.keys, cond.values)

    def _guided(self, cond: Conditioning, other: Conditioning, scale: float) -> Velocity:
        wanted, unwanted = self._velocity(cond), self._velocity(other)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            null = unwanted(x, t)
            return null + (wanted(x, t) - null) * scale

        return velocity

    def _dit(self) -> Iterator[Outputs]:
        if not self._conditioned() or not self.arrays.has("dit.x", "dit.t", "dit.cond_rows"):
            return
        rows = self._case_rows("dit.cond_rows")
        x = self.arrays.tensor("dit.x", len(rows), self.channels, None)
        t, cond = self.arrays.tensor("dit.t", len(rows)), self._conditioning(rows)
        time = self.dit.timestep(t)
        states = self.dit.hidden_states(x, t, cond.global_cond, cond.keys, cond.values)
        timed = self.config.dit.timestep_cond_type == "global"
        yield {
            "dit.row0.cond_tokens": self.conditioner.cross_context(self._cross_tokens()[rows[0]]),
            "dit.timestep_embed": time,
            "dit.global_token": cond.global_cond + time if timed else cond.global_cond,
            "dit.row0.hidden_states": torch.stack([state[0] for state in states]),
            "dit.v": self.dit.project(states[-1]),
            "dit.v_cfg3": self._guided(cond, self._other(rows, None), 3.0)(x, t),
        }
        if self.arrays.has("dit.negative_cond_rows", "cond.cross_attn_mask"):
            other = self._other(rows, self._case_rows("dit.negative_cond_rows"))
            yield {"dit.v_cfg3_negative": self._guided(cond, other, 3.0)(x, t)}
        if len(rows) > 1 and self.arrays.has("dit_odd.x", "dit_odd.t"):
            second = self._conditioning(rows[1:2])
            x = self.arrays.tensor("dit_odd.x", 1, self.channels, None)
            yield {"dit_odd.v": self._velocity(second)(x, self.arrays.tensor("dit_odd.t", 1))}

    def _schedules(self) -> Iterator[Outputs]:
        for name in self.arrays:
            match = _SCHEDULE.fullmatch(name)
            if match and 1 <= int(match[1]) <= MAX_STEPS:
                yield {name: self._times(int(match[1]), float(match[2] or 1.0))}

    def _times(self, steps: int, sigma_max: float = 1.0) -> NDArray[np.float32]:
        start, end = SCHEDULE.logsnr_start, SCHEDULE.logsnr_end
        return pingpong_schedule(steps, logsnr_start=start, logsnr_end=end, sigma_max=sigma_max)

    def _model(self, name: str) -> tuple[Velocity, RecordedNoise]:
        """Return a trajectory's velocity function, guided if it was recorded so, and noise."""
        rows = self._case_rows("a2a.cond_row" if name == "a2a" else "pp.cond_rows")
        noise = self.arrays.noise(name, len(rows), self.channels)
        cond, negative = self._conditioning(rows), f"{name}.negative_cond_rows"
        if f"{name}.cfg_scale" not in self.arrays:
            return self._velocity(cond), noise
        other = self._other(rows, self._case_rows(negative) if negative in self.arrays else None)
        scale = float(self.arrays.numbers(f"{name}.cfg_scale"))
        return self._guided(cond, other, scale), noise

    def _pingpong(
        self, name: str, init: NDArray[np.float32] | None = None, level: float = 1.0
    ) -> Outputs:
        """One recorded ping-pong trajectory, run by the runtime's sampler on recorded noise."""
        model, noise = self._model(name)
        states: list[NDArray[np.float32]] = []
        velocities: list[NDArray[np.float32]] = []

        def recorded(x: Tensor, t: Tensor) -> Tensor:
            v = model(x, t)
            states.append(x.numpy())
            velocities.append(v.numpy())
            return v

        times = self._times(len(noise.steps), level)
        latents = _sample(recorded, times, noise, init)
        x, v = np.stack(states), np.stack(velocities)
        return {
            f"{name}.t": times,
            f"{name}.v": v,
            f"{name}.x": np.concatenate([x, latents[None]]),
            f"{name}.denoised": x - times[:-1].reshape(-1, 1, 1, 1) * v,
            f"{name}.latents": latents,
        }

    def _trajectories(self) -> Iterator[Outputs]:
        if not self._conditioned() or "pp.cond_rows" not in self.arrays:
            return
        for name in [n.removesuffix(".noise_steps") for n in self.arrays]:
            parts = (f"{name}.noise_init", f"{name}.noise_steps")
            if name.startswith("pp") and self.arrays.has(*parts):
                yield self._pingpong(name)

    def _euler(self) -> Iterator[Outputs]:
        """Euler steps on the same schedule: not ours to offer, but they exercise the DiT alone."""
        if not self._conditioned() or "pp.cond_rows" not in self.arrays:
            return
        for match in filter(None, map(_EULER.fullmatch, self.arrays)):
            name, steps = match[1], int(match[2])
            if not 1 <= steps <= MAX_STEPS:
                continue
            (model, noise), times = self._model(name), self._times(steps)
            states = [torch.from_numpy(noise.first)]
            velocities = []
            for now, following in pairwise(torch.from_numpy(times)):
                x = states[-1]
                velocities.append(model(x, now.expand(len(x))))
                states.append(x + (following - now) * velocities[-1])
            yield {
                f"{name}.t": times,
                f"{name}.v": torch.stack(velocities),
                f"{name}.x": torch.stack(states),
                f"{name}.latents": states[-1],
            }

    # --- audio -----------------------------------------------------------------------------------

    def _decoder(self) -> Iterator[Outputs]:
        for name in ("dec", "dec_one"):
            if f"{name}.latents" in self.arrays:
                latents = self.arrays.tensor(f"{name}.latents", None, self.channels, None)
                yield {f"{name}.audio": self.decoder(latents)}

    def _encoder(self) -> Iterator[Outputs]:
        if "enc.audio" not in self.arrays:
            return
        inputs, scale = self.config.autoencoder.encoder.config.in_channels, self.encoder.scale
        audio = self.arrays.tensor("enc.audio", None, inputs, None)
        mean, stdev = self.encoder(audio)
        yield {
            "enc.raw": self.encoder.raw(audio),
            "enc.mean": mean * scale,
            "enc.stdev": stdev * scale,
            "enc.pretransform_scale": np.array(scale),
        }
        if "enc.noise" in self.arrays:
            noise = self.arrays.tensor("enc.noise", *mean.shape)
            yield {"enc.latents": mean + stdev * noise}

    def _audio_to_audio(self) -> Iterator[Outputs]:
        parts = ("init_audio", "init_noise_level", "cond_row", "noise_init", "noise_steps")
        names = [f"a2a.{part}" for part in (*parts, "encoder_noise")]
        if not self._conditioned() or not self.arrays.has(*names):
            return
        frames = self.arrays.array("a2a.noise_init").shape[-1]
        channels = self.config.autoencoder.io_channels
        start = self.arrays.tensor("a2a.init_audio", None, None)
        if channels == 1:  # upstream inference/utils.py, set_audio_channels
            start = start.mean(0, keepdim=True)
        elif channels == 2:
            start = start[:2].expand(2, -1)
        audio = torch.zeros(1, channels, frames * self.config.samples_per_frame)
        used = min(start.shape[-1], audio.shape[-1])
        audio[0, :, :used] = start[:, :used]
        mean, stdev = self.encoder(audio)
        init = mean + stdev * self.arrays.tensor("a2a.encoder_noise", *mean.shape)
        level = float(self.arrays.numbers("a2a.init_noise_level"))
        yield self._pingpong("a2a", init.numpy(), min(level, 1.0))

    def _end_to_end(self) -> Iterator[Outputs]:
        """Conditioning to audio, from upstream's embeddings; text to audio for ``_t5fp32``."""
        for name, noise, cases in (
            ("e2e_short", "pp8", "pp.cond_rows"),
            ("e2e_full", "e2e_full", "e2e_full.cond_row"),
        ):
            parts = (f"{noise}.noise_init", f"{noise}.noise_steps", cases)
            if not self._conditioned() or not self.arrays.has(*parts):
                continue
            rows = self._case_rows(cases)
            if f"{name}.audio" in self.arrays:
                yield {f"{name}.audio": self._generate(self._conditioning(rows), noise, len(rows))}
            if f"{name}_t5fp32.audio" in self.arrays:
                cond = self._prompted(rows)
                if cond is not None:
                    yield {f"{name}_t5fp32.audio": self._generate(cond, noise, len(rows))}

    def _prompted(self, rows: NDArray[np.int64]) -> Conditioning | None:
        """Conditioning of the prompts and numbers of stored cases, through every stage of ours."""
        numbers, prompts = self._numbers_of(), self.arrays.texts.get("prompts", [])
        known = min(len(prompts), *(len(n) for n in numbers)) if numbers else len(prompts)
        if numbers is None or rows.max() >= known:
            return None
        found = self._tokenize([prompts[row] for row in rows])
        ids = torch.from_numpy(np.concatenate([one.input_ids for one in found]))
        mask = torch.from_numpy(np.concatenate([one.attention_mask for one in found]))
        return Conditioning(*self.conditioner(ids, mask, *(n[rows] for n in numbers)))

    def _generate(self, cond: Conditioning, noise: str, batch: int) -> Tensor:
        source = self.arrays.noise(noise, batch, self.channels)
        times = self._times(len(source.steps))
        return self.decoder(torch.from_numpy(_sample(self._velocity(cond), times, source)))

    # --- formulas --------------------------------------------------------------------------------

    def _rotary(self) -> Iterator[Outputs]:
        for name in self.arrays:
            if match := _ROTARY.fullmatch(name):
                positions = torch.arange(len(self.arrays.array(name))).float()
                angles = torch.outer(positions, rotary_frequencies(max(int(match[1]) // 2, 32)))
                yield {name: torch.cat([angles, angles], dim=-1)}

    def _folded(self) -> Iterator[Outputs]:
        for name in self.arrays:
            if match := _FOLDED.fullmatch(name):
                weights = Weights(self.folder.source).scope(match[1])
                weight = folded_weight(weights, *self.arrays.array(name).shape)
                if not weight.is_meta:
                    yield {name: weight}


def _sample(
    model: Velocity,
    times: NDArray[np.float32],
    noise: RecordedNoise,
    init: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Run the runtime's sampler around a network: latents ``(B, C, T)``."""

    def velocity(x: NDArray[np.float32], t: np.float32) -> NDArray[np.float32]:
        found = model(torch.from_numpy(x), torch.full((len(x),), float(t)))
        return cast(NDArray[np.float32], found.numpy())

    return pingpong(velocity, times, noise, noise.first.shape, init=init)
