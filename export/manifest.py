"""The manifest's facts that follow from a checkpoint, and its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.checkpoint.tokenizer_check import read_tokenizer_json
from arcmobile.export.checkpoint.tokenizer_files import (
    sentencepiece_from_tokenizer_json,
    tokenizer_json_from_sentencepiece,
)
from arcmobile.export.messages import shown_value
from arcmobile.export.programs import FramePlan, audio_format, number_inputs
from arcmobile.runtime.bundle import (
    SCHEMA_VERSION,
    SENTENCEPIECE_NAME,
    TOKENIZER_NAME,
    BundleWriter,
    Component,
    DecoderPart,
    FileRecord,
    Manifest,
    Provenance,
    Schedule,
    Tokenizer,
    Windowing,
)
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.noise import NOISE_ID
from arcmobile.runtime.tokenizer import PromptTokenizer

# Upstream's ping-pong schedule (inference/sampling.py, sample_rf) and its usual number of steps.
SCHEDULE = Schedule(kind="logsnr-pingpong", logsnr_start=-6.0, logsnr_end=2.0, default_steps=8)

_LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt")
_LICENSE_UNKNOWN = (
    "The weights keep the license of the checkpoint they were exported from; "
    "Stable Audio Open Small is under the Stability AI Community License."
)


def tokenizer_json(folder: CheckpointFolder) -> str:
    """Text of the text encoder's ``tokenizer.json``, built from ``spiece.model`` if need be."""
    path = folder.tokenizer_files()[0]
    if path.suffix == ".json":
        return read_tokenizer_json(path)
    return tokenizer_json_from_sentencepiece(path)


def write_tokenizer_files(folder: CheckpointFolder, writer: BundleWriter) -> list[str]:
    """Write ``tokenizer.json`` and ``spiece.model`` into a bundle; returns their names.

    A tokenizer that SentencePiece cannot express goes without the second, which is for other tools.
    """
    text = tokenizer_json(folder)
    writer.path(TOKENIZER_NAME).write_text(text, encoding="utf-8")
    given = [path for path in folder.tokenizer_files() if path.name == SENTENCEPIECE_NAME]
    spiece = given[0].read_bytes() if given else sentencepiece_from_tokenizer_json(text)
    if spiece is None:
        return [TOKENIZER_NAME]
    writer.path(SENTENCEPIECE_NAME).write_bytes(spiece)
    return [TOKENIZER_NAME, SENTENCEPIECE_NAME]


def folder_tokenizer(folder: CheckpointFolder) -> PromptTokenizer:
    """Return the prompt tokenizer of a checkpoint.

    Raises:
        CheckpointError: its file is broken.
    """
    try:
        return PromptTokenizer(
            tokenizer_json(folder),
            max_length=folder.config.conditioning.text.config.max_length,
            pad_id=folder.text_config.pad_token_id,
            eos_id=folder.text_config.eos_token_id,
        )
    except ValueError as error:
        path = folder.tokenizer_files()[0]
        raise CheckpointError(f"{path}: not a tokenizer ({error}); download it again") from None


def license_notice(folder: CheckpointFolder) -> str:
    """Return the first two lines of the checkpoint's license file, or what is known without one.

    They hold its title: "Creative Commons Legal Code" alone does not say which license it is.
    """
    for name in _LICENSE_FILES:
        path = folder.path / name
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            title = [text for line in lines if (text := line.strip(" #\t"))][:2]
            if title:
                return ", ".join(title)
    return _LICENSE_UNKNOWN


def tool_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions of distributions, those that are not installed left out."""
    versions = {}
    for name in ("arcmobile", "torch", *names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def build_manifest(
    folder: CheckpointFolder,
    frames: FramePlan,
    components: Mapping[str, Component],
    *,
    model_id: str,
    recipe: str,
    backend: str,
    digest: str,
    tokenizer_files: Sequence[FileRecord],
    tools: Mapping[str, str],
    minimum_runtime: str | None = None,
) -> Manifest:
    """Put together what the export measured and what follows from the checkpoint."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        model_id=model_id,
        license_notice=license_notice(folder),
        recipe=recipe,
        backend=backend,
        minimum_runtime=minimum_runtime,
        objective=folder.config.model.diffusion.diffusion_objective,
        audio=audio_format(folder.config),
        frame_counts=frames.counts,
        numbers=number_inputs(folder.config),
        tokenizer=Tokenizer(
            kind="t5-unigram",
            files=tuple(tokenizer_files),
            max_length=folder.config.conditioning.text.config.max_length,
            pad_id=folder.text_config.pad_token_id,
            eos_id=folder.text_config.eos_token_id,
        ),
        schedule=SCHEDULE,
        noise=NOISE_ID,
        windowing=Windowing(
            decoder=tuple(
                DecoderPart(
                    component=part.component,
                    frames_per_latent=part.frames_per_latent,
                    context_frames=part.context_frames,
                )
                for part in frames.decoder
            ),
            encoder_context_frames=frames.encoder.context_frames,
        ),
        components=dict(components),
        provenance=Provenance(
            created=_now().isoformat(timespec="seconds"),
            checkpoint_sha256=digest,
            tools=dict(tools),
        ),
    )


def _now() -> datetime:
    """Return the time for the manifest: that of ``SOURCE_DATE_EPOCH`` where it is set.

    Raises:
        InputError: the variable holds no time.
    """
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    if not stated:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(stated), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"SOURCE_DATE_EPOCH={shown_value(stated)}: must be seconds since 1970, or unset"
        ) from None
