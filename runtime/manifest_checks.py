"""How the parts of a manifest must agree: the rules that a JSON schema cannot say.

``docs/bundle.md`` lists them for the writer of another reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arcmobile.runtime import bounds, tensors
from arcmobile.runtime.decode import can_decode

if TYPE_CHECKING:
    from arcmobile.runtime.bundle_schema import AudioFormat, Entry, Manifest, TensorSpec


def check_parts_agree(manifest: Manifest) -> None:
    """Check components, tensors and windows against each other.

    Raises:
        ValueError: naming the field.
    """
    parts = [part.component for part in manifest.windowing.decoder]
    if parts != [tensors.decoder_part(index) for index in range(len(parts))]:
        raise ValueError(f"windowing.decoder: its components are {parts}, not decoder_1 and on")
    needed = {tensors.CONDITIONER, tensors.DIT, *parts}
    if missing := sorted(needed - set(manifest.components)):
        raise ValueError(f"components.{missing[0]}: is missing")
    if unknown := sorted(set(manifest.components) - needed - {tensors.ENCODER}):
        raise ValueError(f"components.{unknown[0]}: is unknown")
    if max(manifest.frame_counts) * manifest.audio.samples_per_frame > bounds.SAMPLES:
        raise ValueError(f"frame_counts: give more than {bounds.SAMPLES} samples")
    _check_conditioner(manifest)
    _check_dit(manifest)
    for checked in _entries(manifest, tensors.ENCODER):
        _check_encoder(checked, manifest.audio)
    for index in range(len(parts)):
        _check_decoder_part(manifest, index)
        _check_windows(manifest, index)


@dataclass(frozen=True)
class _Checked:
    """An entry and its place in the manifest."""

    where: str
    entry: Entry

    @property
    def frames(self) -> int:
        if self.entry.frames is None:
            raise ValueError(f"{self.where}.frames: is missing")
        return self.entry.frames

    def expect_names(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        lists = (("inputs", self.entry.inputs, inputs), ("outputs", self.entry.outputs, outputs))
        for kind, specs, names in lists:
            found = [spec.name for spec in specs]
            if sorted(found) != sorted(names):
                raise ValueError(f"{self.where}.{kind}: are {found}, not {sorted(names)}")

    def expect(self, tensor: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
        specs = (*self.entry.inputs, *self.entry.outputs)
        spec = next(spec for spec in specs if spec.name == tensor)
        if spec.shape != shape:
            raise ValueError(f"{self.where}: {tensor} is {spec.shape}, not {shape}")
        if spec.dtype != dtype:
            raise ValueError(f"{self.where}: {tensor} is {spec.dtype}, not {dtype}")
        return spec


def _entries(manifest: Manifest, component: str) -> Iterator[_Checked]:
    if component in manifest.components:
        for index, entry in enumerate(manifest.components[component].entries):
            yield _Checked(f"components.{component}.entries[{index}]", entry)


def _check_conditioner(manifest: Manifest) -> None:
    # Its inputs are ids, mask and numbers; its outputs are any, each once.
    one_per_token = (1, manifest.tokenizer.max_length)
    numbers = [number.name for number in manifest.numbers]
    for checked in _entries(manifest, tensors.CONDITIONER):
        outputs = {spec.name for spec in checked.entry.outputs}
        checked.expect_names([tensors.INPUT_IDS, tensors.ATTENTION_MASK, *numbers], [*outputs])
        checked.expect(tensors.INPUT_IDS, one_per_token, "int32")
        checked.expect(tensors.ATTENTION_MASK, one_per_token)
        for number in numbers:
            checked.expect(number, (1,))


def _check_dit(manifest: Manifest) -> None:
    # It takes what the conditioner gives, and has an entry for every frame count.
    conditioning = manifest.components[tensors.CONDITIONER].entries[0].outputs
    inputs = [tensors.LATENT, tensors.TIMESTEP, *(spec.name for spec in conditioning)]
    for checked in _entries(manifest, tensors.DIT):
        latent = (1, manifest.audio.latent_channels, checked.frames)
        checked.expect_names(inputs, [tensors.VELOCITY])
        checked.expect(tensors.LATENT, latent)
        checked.expect(tensors.TIMESTEP, (1,))
        checked.expect(tensors.VELOCITY, latent)
        for spec in conditioning:
            checked.expect(spec.name, spec.shape, spec.dtype)
    windows = manifest.components[tensors.DIT].windows
    if without := sorted(set(manifest.frame_counts) - set(windows)):
        raise ValueError(f"components.dit: no entry for frame_counts {without}")


def _check_encoder(checked: _Checked, audio: AudioFormat) -> None:
    latent = (1, audio.latent_channels, checked.frames)
    checked.expect_names([tensors.AUDIO], [tensors.MEAN, tensors.STDEV])
    samples = checked.frames * audio.samples_per_frame
    checked.expect(tensors.AUDIO, (1, audio.channels, samples))
    checked.expect(tensors.MEAN, latent)
    checked.expect(tensors.STDEV, latent)


def _check_decoder_part(manifest: Manifest, index: int) -> None:
    # Each part takes what the one before it gives, and gives whole frames of the next.
    chain, audio = manifest.windowing.decoder, manifest.audio
    part = chain[index]
    first, last = index == 0, index == len(chain) - 1
    per_latent = audio.samples_per_frame if last else chain[index + 1].frames_per_latent
    if (first and part.frames_per_latent != 1) or per_latent % part.frames_per_latent:
        raise ValueError(f"windowing.decoder: {part.component} has odd frames_per_latent")
    taken = tensors.LATENT if first else tensors.FEATURES
    given = tensors.AUDIO if last else tensors.NEXT_FEATURES
    channels = {audio.latent_channels}
    if index:
        before = manifest.components[chain[index - 1].component].entries
        channels = {(entry.shape_of(tensors.NEXT_FEATURES) or (0, 0))[1] for entry in before}
    for checked in _entries(manifest, part.component):
        frames = checked.frames
        checked.expect_names([taken], [given])
        for width in channels:
            checked.expect(taken, (1, width, frames))
        spec = checked.entry.outputs[0]
        found = spec.shape
        most = frames * (per_latent // part.frames_per_latent)
        # Odd strides make the sound a few samples shorter than its frames.
        fits = len(found) == 3 and (found[2] <= most if last else found[2] == most)
        if not fits or found[0] != 1 or (last and found[1] != audio.channels):
            raise ValueError(f"{checked.where}: {given} is {found}, for {most} frames or samples")
        checked.expect(given, found)


def _check_windows(manifest: Manifest, index: int) -> None:
    # Every frame count can be decoded: in one window, or in several that keep something.
    part = manifest.windowing.decoder[index]
    windows = manifest.components[part.component].windows
    for count in manifest.frame_counts:
        frames = count * part.frames_per_latent
        if not any(can_decode(window, frames, part.context_frames) for window in windows):
            raise ValueError(
                f"windowing.decoder[{index}]: no window of {list(windows)} frames with "
                f"{part.context_frames} of context decodes {frames}"
            )
