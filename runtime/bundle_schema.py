"""The manifest of a bundle: what an app must know to run a model without reading our code.

The records and their docstrings are the source of ``contract/manifest.schema.json`` (run ``make
contract`` after a change). What a JSON schema cannot say, :mod:`arcmobile.runtime.manifest_checks`
checks. ``docs/bundle.md`` describes both for the writer of another reader.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from arcmobile.runtime import bounds, tensors
from arcmobile.runtime.manifest_checks import check_parts_agree
from arcmobile.runtime.noise import NOISE_ID

SCHEMA_VERSION: Final = 2
KNOWN_SCHEMA_VERSIONS: Final = (SCHEMA_VERSION,)
MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
SENTENCEPIECE_NAME = "spiece.model"

_PLAIN_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def _plain_file_name(name: str) -> str:
    if not re.fullmatch(_PLAIN_NAME, name):
        raise ValueError(f"file name {name!r} leaves the bundle folder or is not a plain name")
    if name == MANIFEST_NAME:
        raise ValueError(f"file name {name!r} is reserved for the manifest")
    return name


FileName = Annotated[
    str,
    AfterValidator(_plain_file_name),
    Field(json_schema_extra={"pattern": f"^{_PLAIN_NAME}$", "not": {"const": MANIFEST_NAME}}),
]
Version = Annotated[str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){1,2}$")]
Objective = Literal["rf_denoiser", "rectified_flow"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=1, le=bounds.TENSOR_ELEMENTS)]
Frames = Annotated[int, Field(ge=1, le=bounds.FRAMES)]
Context = Annotated[int, Field(ge=0, le=bounds.FRAMES)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what a reader counts in 64 bits
TokenId = Annotated[int, Field(ge=0, le=bounds.TOKEN_ID)]


class _Record(BaseModel):
    # NaN and infinity are not JSON and mean a broken measurement.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileRecord(_Record):
    """A file of the bundle.

    Attributes:
        file: Plain name of the file in the bundle folder.
        sha256: Digest of its content, 64 lower-case hexadecimal digits.
        bytes: Its size.
    """

    file: FileName
    sha256: Digest
    bytes: Count


class TensorSpec(_Record):
    """One input or output of a program entry.

    Attributes:
        name: What it is called in ``contract/names.json``, or the name of a number input.
        shape: Fixed length of each axis. All axes together hold at most 536870911 values.
        dtype: Type of its values.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: Literal["float32", "int32"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if math.prod(self.shape) > bounds.TENSOR_ELEMENTS:
            raise ValueError(f"shape {self.shape} is larger than {bounds.TENSOR_ELEMENTS} values")
        return self


Arithmetic = Literal["int8", "fp16", "fp32"]
Macs = dict[Arithmetic, Count]


class Work(_Record):
    """What one call of an entry computes and moves, counted at export on the float32 network.

    Multiply-accumulates are grouped by the arithmetic that the backend uses for them, which is that
    of the activations: layers whose weights are only stored as int8 or float16 count as ``fp32``.
    Bytes are those of float32 activations, without weights.

    Attributes:
        linear_macs: Multiply-accumulates of linear layers, attention and pointwise convolutions.
        convolution_macs: Multiply-accumulates of other convolutions, which have other kernels.
        product_bytes: Bytes that these products read and write.
        elementwise_bytes: Bytes that all other operators read and write, each in one pass.
        largest_bytes: Size of the largest tensor, to compare with a cache.
    """

    linear_macs: Macs
    convolution_macs: Macs
    product_bytes: Count
    elementwise_bytes: Count
    largest_bytes: Count

    @property
    def macs(self) -> Macs:
        """All multiply-accumulates by arithmetic."""
        total = dict(self.linear_macs)
        for arithmetic, count in self.convolution_macs.items():
            total[arithmetic] = total.get(arithmetic, 0) + count
        return total


class Entry(_Record):
    """One callable of a program file: an ExecuTorch method, a LiteRT signature, an ONNX graph.

    Attributes:
        name: Name of the method or signature; an ONNX file has one graph.
        frames: Frames the entry works on: of the latent, or of the features that a later part of
            the decoder takes. Missing or null for the conditioner.
        inputs: In call order.
        outputs: In the order in which the program returns them.
        work: What one call costs. Missing or null in bundles of older exports.
    """

    name: str
    frames: Frames | None = None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    work: Work | None = None

    def shape_of(self, tensor: str) -> tuple[int, ...] | None:
        """Return the shape of an input or output; ``None`` where there is no such tensor."""
        for spec in (*self.inputs, *self.outputs):
            if spec.name == tensor:
                return spec.shape
        return None


class Fidelity(_Record):
    """How far the lowered program is from the float32 PyTorch network, measured at export.

    Attributes:
        max_abs_error: Largest absolute difference of the outputs.
        snr_db: Signal-to-noise ratio in dB; null where the outputs are identical.
        cosine: Cosine similarity of the outputs.
    """

    max_abs_error: float
    snr_db: float | None
    cosine: float


class Component(FileRecord):
    """One program file.

    Attributes:
        precision: Precision by part of the network, such as ``int8-dynamic+fp16``; for people.
        entries: Its callables.
        fidelity: Its error, measured at export.
        delegation: ExecuTorch: delegate calls, and how often each operator is left outside them.
    """

    precision: dict[str, str]
    entries: tuple[Entry, ...] = Field(min_length=1)
    fidelity: Fidelity
    delegation: dict[str, int] | None = None

    def entry(self, name: str) -> Entry | None:
        """Return the entry called ``name``, or ``None``."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def entry_for(self, frames: int) -> Entry | None:
        """Return the entry that works on exactly ``frames`` frames, or ``None``."""
        return next((entry for entry in self.entries if entry.frames == frames), None)

    @property
    def windows(self) -> tuple[int, ...]:
        """Frame counts of the entries, ascending."""
        return tuple(sorted(entry.frames for entry in self.entries if entry.frames is not None))


class AudioFormat(_Record):
    """The sound, and how its samples relate to the frames of the latent.

    Attributes:
        sample_rate: In Hz.
        channels: Channels of the sound.
        samples_per_frame: Samples per channel that one latent frame stands for.
        latent_channels: Channels of the latent.
    """

    sample_rate: int = Field(ge=1, le=bounds.SAMPLE_RATE)
    channels: int = Field(ge=1, le=bounds.CHANNELS)
    samples_per_frame: int = Field(ge=1, le=bounds.SAMPLES_PER_FRAME)
    latent_channels: int = Field(ge=1, le=bounds.LATENT_CHANNELS)


class NumberInput(_Record):
    """A number the model is conditioned on, an input of the conditioner.

    Attributes:
        name: Name of the input; ``seconds_total`` takes the length of the sound by default.
        minimum: Least value the program takes; it clamps what is smaller.
        maximum: Largest value the program takes; it clamps what is larger.
    """

    name: str
    minimum: float
    maximum: float


def _small_enough(record: FileRecord) -> FileRecord:
    if record.bytes > bounds.TOKENIZER_BYTES:
        raise ValueError(f"bytes is {record.bytes}, more than {bounds.TOKENIZER_BYTES}")
    return record


_TokenizerFile = Annotated[
    FileRecord,
    AfterValidator(_small_enough),
    Field(json_schema_extra={"properties": {"bytes": {"maximum": bounds.TOKENIZER_BYTES}}}),
]


class Tokenizer(_Record):
    """The text front end.

    Attributes:
        kind: ``t5-unigram``: a SentencePiece unigram model, as the ``tokenizers`` library reads it.
        files: ``tokenizer.json``, and the same tokenizer as ``spiece.model`` where SentencePiece
            can express it. Each has at most 67108864 bytes.
        max_length: Token ids that the conditioner takes.
        pad_id: Id that fills up a shorter prompt.
        eos_id: Id that ends a prompt that had to be cut.
    """

    kind: Literal["t5-unigram"]
    files: tuple[_TokenizerFile, ...] = Field(
        min_length=1,
        json_schema_extra={"contains": {"properties": {"file": {"const": TOKENIZER_NAME}}}},
    )
    max_length: int = Field(ge=1, le=bounds.TOKENS)
    pad_id: TokenId
    eos_id: TokenId

    @model_validator(mode="after")
    def _has_tokenizer_json(self) -> Self:
        if not any(record.file == TOKENIZER_NAME for record in self.files):
            raise ValueError(f"no {TOKENIZER_NAME} among the files")
        return self


class Schedule(_Record):
    """The times of the sampler, see :mod:`arcmobile.runtime.schedule`.

    Attributes:
        kind: ``logsnr-pingpong``: the ping-pong sampler on a line of log-SNR values.
        logsnr_start: Log signal-to-noise ratio at which the line starts.
        logsnr_end: Log signal-to-noise ratio at which the line ends.
        default_steps: Steps where a request does not say.
    """

    kind: Literal["logsnr-pingpong"]
    logsnr_start: float
    logsnr_end: float
    default_steps: int = Field(ge=1, le=bounds.STEPS)


class DecoderPart(_Record):
    """One part of the decoder and how it runs over its input: see :mod:`arcmobile.runtime.decode`.

    Attributes:
        component: ``decoder_1`` for the first part, ``decoder_2`` for the second, and so on.
        frames_per_latent: Frames of its input for each latent frame.
        context_frames: Frames of its input, next to each edge of a window that is not an edge of
            the whole, whose output is dropped.
    """

    component: str
    frames_per_latent: Frames
    context_frames: Context


class Windowing(_Record):
    """Decoding and encoding by windows.

    Attributes:
        decoder: The decoder's parts, in order.
        encoder_context_frames: Latent frames, next to each inner edge of an encoder window, that
            are dropped.
    """

    decoder: tuple[DecoderPart, ...] = Field(min_length=1)
    encoder_context_frames: Context


class Provenance(_Record):
    """Where a bundle comes from.

    Attributes:
        created: Time of the export, ISO 8601, UTC.
        checkpoint_sha256: Digest of the checkpoint.
        tools: Version of each tool, by name.
    """

    created: str
    checkpoint_sha256: Digest
    tools: dict[str, str]


_COMPONENTS: Final[JsonDict] = {
    "propertyNames": {
        "pattern": f"^({tensors.CONDITIONER}|{tensors.DIT}|{tensors.ENCODER}|"
        f"{tensors.DECODER}_[1-9][0-9]*)$"
    },
    "required": [tensors.CONDITIONER, tensors.DIT, tensors.decoder_part(0)],
}


class Manifest(_Record):
    """A whole manifest.

    Attributes:
        schema_version: Version of this format. A reader refuses versions it does not know.
        model_id: Name of the model.
        license_notice: License of the weights, to be shown or passed on with the bundle.
        recipe: Name of the quantization recipe.
        backend: Runtime that the programs are for.
        minimum_runtime: Oldest release of that runtime that computes the programs as they were
            checked at export, such as ``1.3.0``. Missing or null in bundles of older exports.
        objective: What the model was trained for: ``rf_denoiser`` samples in few steps,
            ``rectified_flow`` is a base model that needs many steps and guidance.
        audio: The sound, and how it relates to the latent.
        frame_counts: Latent lengths that the DiT was exported for.
        numbers: Numbers that the model is conditioned on.
        tokenizer: The text front end.
        schedule: The times of the sampler.
        noise: Id of the noise generator, see :mod:`arcmobile.runtime.noise`.
        windowing: How decoder and encoder run by windows.
        components: Program files: ``conditioner``, ``dit``, ``decoder_1`` and on, and optionally
            ``encoder``.
        provenance: Where the bundle comes from.
    """

    schema_version: Literal[2]
    model_id: str
    license_notice: str
    recipe: str
    backend: str
    minimum_runtime: Version | None = None
    objective: Objective | None = None
    audio: AudioFormat
    frame_counts: tuple[Frames, ...] = Field(min_length=1)
    numbers: tuple[NumberInput, ...]
    tokenizer: Tokenizer
    schedule: Schedule
    noise: str = Field(json_schema_extra={"const": NOISE_ID})
    windowing: Windowing
    components: dict[str, Component] = Field(json_schema_extra=_COMPONENTS)
    provenance: Provenance

    def files(self) -> Iterator[FileRecord]:
        """Yield every file of the bundle but the manifest: the tokenizer's, then the programs."""
        yield from self.tokenizer.files
        yield from self.components.values()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.noise != NOISE_ID:
            raise ValueError(f"noise: is {self.noise!r}, known: {NOISE_ID}")
        check_parts_agree(self)
        return self
