"""Parity: the networks against arrays computed by the upstream implementation.

A parity folder is a checkpoint folder with ``expected.npz`` (and ``prompts.json``); its arrays are
inputs and outputs of every stage. Each comparison is one row: the largest absolute error, against
a tolerance of 1e-4 that grows with tensors larger than unit scale. Stages are compared with
float32 references: upstream runs its text encoder in float16, so where an array also exists with
the suffix ``_t5fp32``, that one counts.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcmobile.export.checkpoint import CheckpointFolder
from arcmobile.export.manifest import SCHEDULE, folder_tokenizer
from arcmobile.export.model.conditioning import Conditioner
from arcmobile.export.model.dit import DiffusionTransformer, rotary_frequencies
from arcmobile.export.model.oobleck import OobleckDecoder, OobleckEncoder, folded_weight
from arcmobile.export.model.primitives import REFERENCE, NetworkForm
from arcmobile.export.model.weights import Weights
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.sampler import pingpong
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, ENCODER

TOLERANCE = 1e-4
EXPECTED_FILE = "expected.npz"
PROMPTS_FILE = "prompts.json"

_SCHEDULE = re.compile(r"schedule\.steps(\d+)(?:_sigma_max([0-9.]+))?")
_ROTARY = re.compile(r"unit\.rotary_freqs_dim_heads(\d+)")
_FOLDED = re.compile(r"folded\.(.+)\.weight")


@dataclass(frozen=True)
class ParityRow:
    """One compared array.

    Attributes:
        stage: the step of the data flow it belongs to.
        array: its name in ``expected.npz``.
        error: largest absolute difference; the number of different ids for token arrays.
        tolerance: what the error must not exceed.
    """

    stage: str
    array: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # a NaN error is not within any tolerance


class RecordedNoise:
    """Noise arrays of a parity folder, as the sampler's noise source."""

    def __init__(self, initial: NDArray[np.float32], steps: NDArray[np.float32]):
        self._initial, self._steps = initial, steps

    def initial(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return self._initial

    def step(self, index: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return cast(NDArray[np.float32], self._steps[index - 1])

    def encoder(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        raise NotImplementedError("the encoder's noise is read by name")


@dataclass(frozen=True)
class Conditioning:
    """Projected conditioning of a batch: the DiT's inputs."""

    global_cond: Tensor
    keys: Tensor
    values: Tensor


class ParityRun:
    """Runs the stages of one parity folder.

    Args:
        folder: the checkpoint, opened.
        form: the spelling of the networks to check.

    Raises:
        CheckpointError: the folder holds no readable ``expected.npz``.
    """

    def __init__(self, folder: CheckpointFolder, form: NetworkForm = REFERENCE):
        self.folder, self.form = folder, form
        path = folder.path / EXPECTED_FILE
        try:
            with np.load(path, allow_pickle=False) as archive:
                self.arrays: dict[str, NDArray[Any]] = {n: archive[n] for n in archive.files}
        except FileNotFoundError:
            raise CheckpointError(
                f"{path}: missing; a parity folder holds the upstream arrays"
            ) from None
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path}: not a readable array archive ({error})") from None
        self.absent: list[str] = []

    def rows(self) -> Iterator[ParityRow]:
        """Every comparison, in the order of the data flow."""
        stages = (
            self._tokens, self._schedules, self._unit, self._text, self._numbers, self._cond,
            self._dit, self._trajectories, self._euler, self._decoder, self._encoder,
            self._audio_to_audio, self._end_to_end,
        )  # fmt: skip
        with torch.no_grad():
            for stage in stages:
                yield from stage()

    # --- access ------------------------------------------------------------------------------

    def _has(self, *names: str) -> bool:
        lacking = [name for name in names if name not in self.arrays]
        self.absent += [name for name in lacking if name not in self.absent]
        return not lacking

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[name]))

    def _row(self, stage: str, name: str, actual: Tensor | NDArray[Any]) -> ParityRow:
        expected = np.asarray(self.arrays[name], dtype=np.float64)
        found = np.asarray(actual, dtype=np.float64)
        if expected.shape != found.shape:
            raise CheckpointError(
                f"{EXPECTED_FILE}: {name} has shape {list(expected.shape)}, "
                f"the config gives {list(found.shape)}"
            )
        scale = float(np.sqrt(np.mean(expected**2))) if expected.size else 0.0
        error = float(np.max(np.abs(found - expected), initial=0.0))
        if not np.isfinite(found).all():
            error = float("nan")
        return ParityRow(stage, name, error, TOLERANCE * max(1.0, scale))

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        """Prompts as text; the JSON file is preferred, arrays of text drop trailing NULs."""
        path = self.folder.path / PROMPTS_FILE
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            return {
                "prompts": stored.get("prompts", []),
                "tok_extra.prompts": stored.get("tok_extra_prompts", []),
            }
        names = [n for n in ("prompts", "tok_extra.prompts") if n in self.arrays]
        return {name: [str(text) for text in self.arrays[name]] for name in names}

    @cached_property
    def conditioner(self) -> Conditioner:
        return cast(Conditioner, self.folder.build(CONDITIONER, self.form))

    @cached_property
    def dit(self) -> DiffusionTransformer:
        return cast(DiffusionTransformer, self.folder.build(DIT, self.form))

    @cached_property
    def decoder(self) -> OobleckDecoder:
        return cast(OobleckDecoder, self.folder.build(DECODER, self.form))

    @cached_property
    def encoder(self) -> OobleckEncoder:
        return cast(OobleckEncoder, self.folder.build(ENCODER, self.form))

    # --- stages --------------------------------------------------------------------------------

    def _tokens(self) -> Iterator[ParityRow]:
        tokenizer = folder_tokenizer(self.folder)
        for texts, name in (("prompts", "input_ids"), ("tok_extra.prompts", "tok_extra.input_ids")):
            if not self._has(name) or texts not in self._texts:
                continue
            found = [tokenizer(prompt) for prompt in self._texts[texts]]
            ids = np.concatenate([one.input_ids for one in found])
            yield ParityRow("tokens", name, float(np.sum(ids != self.arrays[name])), 0.0)
            if name == "input_ids" and self._has("attention_mask"):
                mask = np.concatenate([one.attention_mask for one in found])
                different = float(np.sum(mask != self.arrays["attention_mask"]))
                yield ParityRow("tokens", "attention_mask", different, 0.0)

    def _schedules(self) -> Iterator[ParityRow]:
        for name in self.arrays:
            if match := _SCHEDULE.fullmatch(name):
                times = pingpong_schedule(
                    int(match[1]),
                    logsnr_start=SCHEDULE.logsnr_start,
                    logsnr_end=SCHEDULE.logsnr_end,
                    sigma_max=float(match[2] or 1.0),
                )
                yield self._row("schedule", name, times)

    def _unit(self) -> Iterator[ParityRow]:
        for name in self.arrays:
            if match := _ROTARY.fullmatch(name):
                positions = torch.arange(self.arrays[name].shape[0]).float()
                angles = torch.outer(positions, rotary_frequencies(max(int(match[1]) // 2, 32)))
                yield self._row("rotary", name, torch.cat([angles, angles], dim=-1))
            elif match := _FOLDED.fullmatch(name):
                weights = Weights(self.folder.source).scope(match[1])
                weight = folded_weight(weights, *self.arrays[name].shape)
                if not weight.is_meta:
                    yield self._row("weight norm", name, weight)

    def _text(self) -> Iterator[ParityRow]:
        if not self._has("input_ids", "attention_mask"):
            return
        ids, mask = self._tensor("input_ids"), self._tensor("attention_mask").float()
        if self._has("t5_last_hidden_state_t5fp32"):
            count = self.arrays["t5_last_hidden_state_t5fp32"].shape[0]
            hidden = self.conditioner.text(ids[:count], mask[:count])
            yield self._row("text encoder", "t5_last_hidden_state_t5fp32", hidden)
        if self._has("prompt_embeds_t5fp32"):
            rows = self.conditioner.embed_text(ids, mask)
            yield self._row("text encoder", "prompt_embeds_t5fp32", rows)

    def _numbers(self) -> Iterator[ParityRow]:
        for name in self.conditioner.number_ids:
            if self._has(name, f"{name}_embeds"):
                found = self.conditioner.numbers[name](self._tensor(name).float())
                expected = self.arrays[f"{name}_embeds"]
                yield self._row("numbers", f"{name}_embeds", found.view(expected.shape))

    def _cond(self) -> Iterator[ParityRow]:
        """Assembly of the conditioning, from the stored prompt rows and our number rows."""
        numbers = [f"cond.{name}" for name in self.conditioner.number_ids]
        if not self._has("prompt_embeds", *numbers):
            return
        embedded = {self.conditioner.text_id: self._tensor("prompt_embeds")}
        for name in self.conditioner.number_ids:
            rows = self.conditioner.numbers[name](self._tensor(f"cond.{name}").float())
            embedded[name] = rows.unsqueeze(1)
        if self._has("cond.cross_attn_cond"):
            tokens = self.conditioner.cross_tokens(embedded)
            yield self._row("conditioning", "cond.cross_attn_cond", tokens)
        vector = self.conditioner.global_vector(embedded)
        if vector is not None and self._has("cond.global_cond"):
            yield self._row("conditioning", "cond.global_cond", vector)

    def _conditioning(self, rows: NDArray[Any]) -> Conditioning:
        """The DiT's conditioning of stored rows of ``cond.*``."""
        tokens = self._tensor("cond.cross_attn_cond")[rows]
        vector = None
        if self.conditioner.global_ids:
            vector = self._tensor("cond.global_cond")[rows]
        keys, values = self.conditioner.project_cross(tokens)
        return Conditioning(self.conditioner.project_global(vector, len(rows)), keys, values)

    def _null(self, like: NDArray[Any], negative_rows: NDArray[Any] | None) -> Conditioning:
        """Conditioning of the guidance's other half: zeros or negative prompts for the cross

        tokens, the positive global vector (upstream dit.py, classifier-free guidance).
        """
        tokens = torch.zeros_like(self._tensor("cond.cross_attn_cond")[like])
        if negative_rows is not None:
            negative = self._tensor("cond.cross_attn_cond")[negative_rows]
            mask = self._tensor("cond.cross_attn_mask")[negative_rows].bool()
            tokens = torch.where(mask[..., None], negative, tokens)
        keys, values = self.conditioner.project_cross(tokens)
        return Conditioning(self._conditioning(like).global_cond, keys, values)

    def _velocity(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        return self.dit(x, t, cond.global_cond, cond.keys, cond.values)

    def _guided(
        self, x: Tensor, t: Tensor, cond: Conditioning, other: Conditioning, scale: float
    ) -> Tensor:
        null = self._velocity(x, t, other)
        return null + (self._velocity(x, t, cond) - null) * scale

    def _dit(self) -> Iterator[ParityRow]:
        if not self._has("dit.x", "dit.t", "dit.cond_rows", "dit.v"):
            return
        rows = self.arrays["dit.cond_rows"]
        x, t, cond = self._tensor("dit.x"), self._tensor("dit.t"), self._conditioning(rows)
        if self._has("dit.row0.cond_tokens"):
            tokens = self.conditioner.cross_context(self._tensor("cond.cross_attn_cond")[rows[:1]])
            expected = self.arrays["dit.row0.cond_tokens"]
            yield self._row("dit", "dit.row0.cond_tokens", tokens.reshape(expected.shape))
        time = self.dit.timestep(t)
        if self._has("dit.timestep_embed"):
            yield self._row("dit", "dit.timestep_embed", time)
        if self.folder.config.dit.timestep_cond_type == "global" and self._has("dit.global_token"):
            yield self._row("dit", "dit.global_token", cond.global_cond + time)
        states = self.dit.hidden_states(x, t, cond.global_cond, cond.keys, cond.values)
        if self._has("dit.row0.hidden_states"):
            first = torch.stack([state[0] for state in states])
            yield self._row("dit", "dit.row0.hidden_states", first)
        yield self._row("dit", "dit.v", self.dit.project(states[-1]))
        if self._has("dit.v_cfg3"):
            found = self._guided(x, t, cond, self._null(rows, None), 3.0)
            yield self._row("dit", "dit.v_cfg3", found)
        if self._has("dit.v_cfg3_negative", "dit.negative_cond_rows", "cond.cross_attn_mask"):
            other = self._null(rows, self.arrays["dit.negative_cond_rows"])
            found = self._guided(x, t, cond, other, 3.0)
            yield self._row("dit", "dit.v_cfg3_negative", found)
        if self._has("dit_odd.x", "dit_odd.t", "dit_odd.v"):
            second = self._conditioning(rows[1:2])
            found = self._velocity(self._tensor("dit_odd.x"), self._tensor("dit_odd.t"), second)
            yield self._row("dit", "dit_odd.v", found)

    def _model(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        """The velocity function of a trajectory, guided where it was recorded with guidance."""
        key = "a2a.cond_row" if name == "a2a" else "pp.cond_rows"
        rows = np.atleast_1d(self.arrays[key])
        cond = self._conditioning(rows)
        if f"{name}.cfg_scale" not in self.arrays:
            return lambda x, t: self._velocity(x, t, cond)
        negative = self.arrays.get(f"{name}.negative_cond_rows")
        other, scale = self._null(rows, negative), float(self.arrays[f"{name}.cfg_scale"])
        return lambda x, t: self._guided(x, t, cond, other, scale)

    def _pingpong(
        self, name: str, init: NDArray[np.float32] | None = None, level: float = 1.0
    ) -> Iterator[ParityRow]:
        """One recorded ping-pong trajectory, run by the runtime's sampler on recorded noise."""
        model = self._model(name)
        states: list[NDArray[np.float32]] = []
        velocities: list[NDArray[np.float32]] = []

        def velocity(x: NDArray[np.float32], t: np.float32) -> NDArray[np.float32]:
            times = torch.full((x.shape[0],), float(t))
            v = model(torch.from_numpy(np.ascontiguousarray(x)), times).numpy()
            states.append(x)
            velocities.append(v)
            return cast(NDArray[np.float32], v)

        steps = self.arrays[f"{name}.noise_steps"]
        noise = RecordedNoise(self.arrays[f"{name}.noise_init"], steps)
        times = pingpong_schedule(
            len(steps),
            logsnr_start=SCHEDULE.logsnr_start,
            logsnr_end=SCHEDULE.logsnr_end,
            sigma_max=level,
        )
        latents = pingpong(velocity, times, noise, noise.initial(()).shape, init=init)
        stage = "audio to audio" if name == "a2a" else "ping-pong"
        yield self._row(stage, f"{name}.t", times)
        yield self._row(stage, f"{name}.v", np.stack(velocities))
        yield self._row(stage, f"{name}.x", np.stack([*states, latents]))
        yield self._row(stage, f"{name}.latents", latents)

    def _trajectories(self) -> Iterator[ParityRow]:
        names = [n.removesuffix(".noise_steps") for n in self.arrays if n.endswith(".noise_steps")]
        for name in names:
            if name.startswith("pp") and self._has(f"{name}.noise_init", "pp.cond_rows"):
                yield from self._pingpong(name)

    def _euler(self) -> Iterator[ParityRow]:
        for name in [n.removesuffix(".noise_init") for n in self.arrays if n.startswith("euler")]:
            if f"{name}.noise_init" not in self.arrays or not self._has(f"{name}.latents"):
                continue
            model = self._model(name)
            x, times = self._tensor(f"{name}.noise_init"), self._tensor(f"{name}.t")
            for now, following in zip(times[:-1], times[1:], strict=True):
                x = x + (following - now) * model(x, now.expand(x.shape[0]))
            yield self._row("euler", f"{name}.latents", x)

    def _decoder(self) -> Iterator[ParityRow]:
        for name in ("dec", "dec_one"):
            if self._has(f"{name}.latents", f"{name}.audio"):
                found = self.decoder(self._tensor(f"{name}.latents"))
                yield self._row("decoder", f"{name}.audio", found)

    def _encoder(self) -> Iterator[ParityRow]:
        if not self._has("enc.audio", "enc.raw"):
            return
        audio, scale = self._tensor("enc.audio"), self.encoder.scale
        yield self._row("encoder", "enc.raw", self.encoder.raw(audio))
        mean, stdev = self.encoder(audio)
        if self._has("enc.mean", "enc.stdev"):
            yield self._row("encoder", "enc.mean", mean * scale)
            yield self._row("encoder", "enc.stdev", stdev * scale)
        if self._has("enc.noise", "enc.latents"):
            found = mean + stdev * self._tensor("enc.noise")
            yield self._row("encoder", "enc.latents", found)

    def _audio_to_audio(self) -> Iterator[ParityRow]:
        names = ("init_audio", "init_noise_level", "cond_row", "noise_init", "encoder_noise")
        if not self._has(*(f"a2a.{name}" for name in names)):
            return
        frames = self.arrays["a2a.noise_init"].shape[-1]
        config = self.folder.config
        audio = torch.zeros(1, config.autoencoder.encoder.config.in_channels,
                            frames * config.samples_per_frame)  # fmt: skip
        start = self._tensor("a2a.init_audio")[:, : audio.shape[-1]]
        audio[0, :, : start.shape[-1]] = start
        mean, stdev = self.encoder(audio)
        init = (mean + stdev * self._tensor("a2a.encoder_noise")).numpy()
        yield from self._pingpong("a2a", init, float(self.arrays["a2a.init_noise_level"]))

    def _end_to_end(self) -> Iterator[ParityRow]:
        """Text to audio through every stage of ours, on recorded noise."""
        short = "e2e_short_t5fp32" if "e2e_short_t5fp32.audio" in self.arrays else "e2e_short"
        if self._has(f"{short}.audio", "pp8.noise_init", "pp8.noise_steps", "pp.cond_rows"):
            rows = np.atleast_1d(self.arrays["pp.cond_rows"])
            yield self._row("end to end", f"{short}.audio", self._generate(rows, "pp8"))
        if self._has("e2e_full.audio", "e2e_full.noise_init", "e2e_full.cond_row"):
            rows = np.atleast_1d(self.arrays["e2e_full.cond_row"])
            yield self._row("end to end", "e2e_full.audio", self._generate(rows, "e2e_full"))

    def _generate(self, rows: NDArray[Any], noise: str) -> Tensor:
        tokenizer = folder_tokenizer(self.folder)
        found = [tokenizer(self._texts["prompts"][row]) for row in rows]
        numbers = [
            self._tensor(f"cond.{name}")[rows].float() for name in self.conditioner.number_ids
        ]
        cond = Conditioning(
            *self.conditioner(
                torch.from_numpy(np.concatenate([one.input_ids for one in found])),
                torch.from_numpy(np.concatenate([one.attention_mask for one in found])),
                *numbers,
            )
        )
        source = RecordedNoise(
            self.arrays[f"{noise}.noise_init"], self.arrays[f"{noise}.noise_steps"]
        )
        steps = len(self.arrays[f"{noise}.noise_steps"])

        def velocity(x: NDArray[np.float32], t: np.float32) -> NDArray[np.float32]:
            times = torch.full((x.shape[0],), float(t))
            return cast(
                NDArray[np.float32], self._velocity(torch.from_numpy(x), times, cond).numpy()
            )

        times = pingpong_schedule(
            steps, logsnr_start=SCHEDULE.logsnr_start, logsnr_end=SCHEDULE.logsnr_end
        )
        latents = pingpong(velocity, times, source, source.initial(()).shape)
        return self.decoder(torch.from_numpy(latents))
