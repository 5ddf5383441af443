"""Checkpoint folders: reading, checking, and building networks from them.

A checkpoint is a folder with ``model_config.json`` and ``model.safetensors`` (or ``model.ckpt``),
and a text encoder in transformers layout, by default in its sub-folder ``text_encoder``. Files are
untrusted (:mod:`arcmobile.export.checkpoint.weight_files`): tensors that are missing, misshapen,
unknown, not of a float type or not finite are all listed, never skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from arcmobile.export.checkpoint.foreign import what_folder_is, what_tensors_are
from arcmobile.export.checkpoint.tokenizer_check import tokenizer_faults
from arcmobile.export.checkpoint.weight_files import Digest, SafetensorsSource, TorchSource
from arcmobile.export.messages import shown_names
from arcmobile.export.model.conditioning import Conditioner
from arcmobile.export.model.config import (
    ModelConfig,
    T5Config,
    load_model_config,
    load_t5_config,
)
from arcmobile.export.model.dit import DiffusionTransformer
from arcmobile.export.model.forms import REFERENCE, NetworkForm
from arcmobile.export.model.oobleck import OobleckDecoder, OobleckEncoder, decoder_parts
from arcmobile.export.model.weights import (
    FLOAT_TYPES,
    Ledger,
    ShapeOnlySource,
    TensorSource,
    Weights,
)
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, ENCODER, STAGES, decoder_part

MODEL_CONFIG = "model_config.json"
MODEL_FILES = ("model.safetensors", "model.ckpt")
TEXT_ENCODER_FOLDER = "text_encoder"
TEXT_CONFIG = "config.json"
TEXT_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")

WeightFile = SafetensorsSource | TorchSource

# Names of one and the same tensor, stored under either or both.
_T5_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")
# A T5 checkpoint is usually the whole model; the conditioner needs its encoder.
_T5_IGNORED = ("decoder.", "lm_head.", _T5_EMBEDDINGS[1])


def _find(folder: Path, candidates: tuple[str, ...], what: str) -> Path:
    for name in candidates:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: {what} missing; expected {' or '.join(candidates)}")


def _open_source(path: Path) -> WeightFile:
    return SafetensorsSource(path) if path.suffix == ".safetensors" else TorchSource(path)


@dataclass(frozen=True)
class CheckpointReport:
    """What a checkpoint holds against what its config asks for.

    Attributes:
        parameters: number of stored values by part.
        missing: tensors the config asks for that are in neither file.
        unexpected: tensors that no network takes.
        wrong_shape: ``name: found instead of expected`` lines.
        wrong_type: ``name: type`` lines of tensors that are not stored as floats.
        non_finite: tensors with NaN or infinite values.
        tokenizer: lines about tokenizer files that are broken or disagree.
    """

    parameters: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: list[str] = field(default_factory=list)
    wrong_type: list[str] = field(default_factory=list)
    non_finite: list[str] = field(default_factory=list)
    tokenizer: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """One phrase per kind of fault, empty if the checkpoint is sound."""
        kinds = (
            ("missing tensors", self.missing),
            ("unexpected tensors", self.unexpected),
            ("wrong shapes", self.wrong_shape),
            ("not stored as floats", self.wrong_type),
            ("NaN or infinite values in", self.non_finite),
            ("tokenizer", self.tokenizer),
        )
        phrases = [f"{title}: {shown_names(names)}" for title, names in kinds if names]
        return [kind, *phrases] if (kind := self.origin()) else phrases

    def origin(self) -> str | None:
        """Return where tensors that do not belong here come from, if their names say so."""
        return what_tensors_are(self.unexpected)


@dataclass(frozen=True)
class CheckpointFolder:
    """A checkpoint and its text encoder, opened but not loaded."""

    path: Path
    text_encoder: Path
    model_file: Path
    text_file: Path
    config: ModelConfig
    text_config: T5Config

    @classmethod
    def open(cls, path: Path, text_encoder: Path | None = None) -> CheckpointFolder:
        """Find and validate the files; no tensor is read.

        Raises:
            CheckpointError: a file is missing or malformed, or the config is of another family.
        """
        if not path.is_dir():
            what = (
                "is a file; give the checkpoint's folder"
                if path.exists()
                else ("no such checkpoint folder")
            )
            raise CheckpointError(f"{path}: {what}")
        if not (path / MODEL_CONFIG).is_file() and (kind := what_folder_is(path)):
            raise CheckpointError(f"{path}: {MODEL_CONFIG} missing; this is {kind}")
        config = load_model_config(path / MODEL_CONFIG)
        model_file = _find(path, MODEL_FILES, "weights")
        text = text_encoder or path / TEXT_ENCODER_FOLDER
        if not text.is_dir():
            raise CheckpointError(
                f"{text}: no text encoder folder; give one with --text-encoder "
                "(transformers layout: config.json, model.safetensors, tokenizer.json)"
            )
        text_config = load_t5_config(text / TEXT_CONFIG)
        # With enable_grad the text encoder was trained along, and the checkpoint holds it.
        within = config.conditioning.text.config.enable_grad
        text_file = model_file if within else _find(text, TEXT_FILES, "text encoder weights")
        _find(text, TOKENIZER_FILES, "tokenizer")
        return cls(path, text, model_file, text_file, config, text_config)

    @cached_property
    def source(self) -> WeightFile:
        """The tensors of the model file."""
        return _open_source(self.model_file)

    @cached_property
    def text_source(self) -> WeightFile:
        """The tensors of the text encoder's file."""
        return _open_source(self.text_file)

    @cached_property
    def digests(self) -> dict[Path, str]:
        """File -> sha256 (hex), of the files that were hashed."""
        return {}

    @cached_property
    def finite(self) -> dict[Path, set[str]]:
        """File -> names of tensors that were found finite."""
        return {self.model_file: set(), self.text_file: set()}

    def tokenizer_files(self) -> list[Path]:
        """Return the tokenizer files the text encoder folder has."""
        paths = (self.text_encoder / name for name in TOKENIZER_FILES)
        return [path for path in paths if path.is_file()]

    def digest(self) -> str:
        """Return the sha256 (hex) over config, weights and text encoder weights.

        Files that :func:`require_sound` hashed are not read again.
        """
        total = hashlib.sha256()
        for path in (self.path / MODEL_CONFIG, self.model_file, self.text_file):
            if path not in self.digests:
                with path.open("rb") as file:
                    self.digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(bytes.fromhex(self.digests[path]))
        return total.hexdigest()

    def build(self, component: str, form: NetworkForm = REFERENCE) -> nn.Module:
        """One component's float32 network, in eval mode, its tensors loaded and checked.

        ``decoder`` is the whole decoder, which no program holds.

        Raises:
            CheckpointError: tensors it needs are missing, misshapen or not finite.
        """
        weights = Weights(self.source, ledger=Ledger(self.finite[self.model_file]))
        text_weights = Weights(self.text_source, ledger=Ledger(self.finite[self.text_file]))
        network = construct_network(
            component, self.config, self.text_config, weights, text_weights, form
        )
        for file, found in ((self.model_file, weights), (self.text_file, text_weights)):
            ledger = found.ledger
            if not ledger.clean():
                report = CheckpointReport(
                    missing=ledger.missing,
                    wrong_shape=ledger.wrong_shape,
                    wrong_type=ledger.wrong_type,
                    non_finite=ledger.non_finite,
                )
                raise CheckpointError(f"{file}: {'; '.join(report.faults())}")
        return network.eval().requires_grad_(False)

    def build_empty(self, component: str, form: NetworkForm = REFERENCE) -> nn.Module:
        """Return the same network with ``meta`` tensors: for shapes, without reading weights."""
        nothing = Weights(ShapeOnlySource())
        network = construct_network(
            component, self.config, self.text_config, nothing, nothing, form
        )
        return network.to("meta").eval().requires_grad_(False)


def construct_network(
    component: str,
    config: ModelConfig,
    text_config: T5Config,
    weights: Weights,
    text_weights: Weights,
    form: NetworkForm,
) -> nn.Module:
    """Build one component's network of the tensors that it takes from the weights.

    Raises:
        ValueError: the model has no such component.
    """
    if component == CONDITIONER:
        return Conditioner(config, text_config, weights, text_weights, form)
    if component == DIT:
        scope = weights.scope("model.model")
        return DiffusionTransformer(config.dit, config.max_frames, scope, form)
    scale = config.model.pretransform.scale
    scope = weights.scope("pretransform.model")
    if component == ENCODER:
        return OobleckEncoder(config.autoencoder, scale, scope, form)
    if component == DECODER:
        return OobleckDecoder(config.autoencoder, scale, scope, form)
    for index, blocks in enumerate(decoder_parts(config.autoencoder)):
        if component == decoder_part(index):
            return OobleckDecoder(config.autoencoder, scale, scope, form, blocks)
    raise ValueError(f"no component {component!r}")


def expected_tensors(
    config: ModelConfig, text_config: T5Config
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Return names and shapes a checkpoint holds: those of the model file, the text encoder's."""
    weights, text_weights = Weights(ShapeOnlySource()), Weights(ShapeOnlySource())
    for component in STAGES:
        construct_network(component, config, text_config, weights, text_weights, REFERENCE)
    return weights.ledger.requested, text_weights.ledger.requested


_PARTS = (
    ("model.model.", "dit"),
    ("pretransform.model.decoder.", "decoder"),
    ("pretransform.model.encoder.", "encoder"),
    ("conditioner.", "conditioning"),
)


def _compare(
    source: WeightFile,
    expected: Mapping[str, tuple[int, ...]],
    finite: Set[str],
    ignored: tuple[str, ...] = (),
) -> Iterator[tuple[str, str]]:
    """Yield (kind of fault, line) for each fault of one file."""
    for name, shape in expected.items():
        found = source.shape(name)
        if found is None:
            yield "missing", name
        elif found != shape:
            yield "wrong_shape", f"{name}: {list(found)} instead of {list(shape)}"
        elif (kind := source.type_name(name)) not in FLOAT_TYPES:
            yield "wrong_type", f"{name}: {kind}"
        elif name not in finite:
            yield "non_finite", name
    for name in source.names():
        if name not in expected and not name.startswith(ignored):
            yield "unexpected", name


def _finite_tensors(source: WeightFile, names: Set[str], digest: Digest | None) -> Iterator[str]:
    """Yield those of the named tensors that are floats and finite, in one pass over the file."""
    for name, tensor in source.scan(digest):
        if name not in names or source.type_name(name) not in FLOAT_TYPES:
            continue
        # As float32, which is what networks are built of, and what has isfinite for every type.
        if bool(torch.isfinite(tensor.to(torch.float32)).all()):
            yield name


def _rename_embedding(
    expected: dict[str, tuple[int, ...]], source: TensorSource, prefix: str
) -> None:
    """Expect T5's token embedding under whichever of its two names the file uses."""
    usual, other = (prefix + name for name in _T5_EMBEDDINGS)
    if usual in expected and source.shape(usual) is None and source.shape(other) is not None:
        expected[other] = expected.pop(usual)


def _untied_embeddings(source: TensorSource, prefix: str) -> Iterator[str]:
    """Yield a line where T5's token embedding is stored under both names and differs."""
    usual, other = (prefix + name for name in _T5_EMBEDDINGS)
    shapes = source.shape(usual), source.shape(other)
    if None not in shapes and not (
        shapes[0] == shapes[1] and torch.equal(source.read(usual), source.read(other))
    ):
        yield f"{other}: another table than {usual}"


def inspect_checkpoint(folder: CheckpointFolder, *, digest: bool = False) -> CheckpointReport:
    """Compare both files with what the config asks for, in one pass over each.

    The tokenizer files are read, too, and compared with each other and the text encoder's config.
    With ``digest`` the files are hashed in the same pass, for :meth:`CheckpointFolder.digest`.
    What was found finite is not looked through again when networks are built.
    """
    expected, text_expected = expected_tensors(folder.config, folder.text_config)
    text = folder.config.conditioning.text
    prefix = f"conditioner.conditioners.{text.id}.model."
    report = CheckpointReport()

    def compare(
        path: Path,
        source: WeightFile,
        wanted: dict[str, tuple[int, ...]],
        prefix: str,
        ignored: tuple[str, ...],
        title: str = "",
    ) -> None:
        _rename_embedding(wanted, source, prefix)
        sha256 = hashlib.sha256() if digest else None
        finite = folder.finite[path]
        finite.update(_finite_tensors(source, wanted.keys(), sha256))
        if sha256 is not None:
            folder.digests[path] = sha256.hexdigest()
        for kind, line in _compare(source, wanted, finite, ignored):
            getattr(report, kind).append(title + line)
        report.unexpected.extend(title + line for line in _untied_embeddings(source, prefix))

    model, text_model = folder.model_file, folder.text_file
    if text.config.enable_grad:
        compare(model, folder.source, expected, prefix, (prefix + _T5_EMBEDDINGS[1],))
    else:
        compare(model, folder.source, expected, prefix, ())
        compare(text_model, folder.text_source, text_expected, "", _T5_IGNORED, "text encoder ")
    report.tokenizer.extend(tokenizer_faults(folder.tokenizer_files(), folder.text_config))
    for name, shape in expected.items():
        part = next((part for prefix, part in _PARTS if name.startswith(prefix)), "other")
        count = report.parameters.get(part, 0) + torch.Size(shape).numel()
        report.parameters[part] = count
    if text_expected:
        total = sum(torch.Size(shape).numel() for shape in text_expected.values())
        report.parameters["text_encoder"] = total
    return report


def require_sound(folder: CheckpointFolder, *, digest: bool = False) -> CheckpointReport:
    """Check a checkpoint as :func:`inspect_checkpoint` does.

    Raises:
        CheckpointError: it has a fault; the message names all kinds of them.
    """
    report = inspect_checkpoint(folder, digest=digest)
    if faults := report.faults():
        raise CheckpointError(f"{folder.path}: {'; '.join(faults)}")
    return report
