"""The PyTorch reference engine: a checkpoint run as it is, to compare every bundle with.

It implements the runtime's engine interface on the networks themselves, on CPU or CUDA, in float32
or half precision, compiled or not. Sampler, decode and audio are the runtime's: only the programs
differ.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import build_manifest, folder_tokenizer, tokenizer_json
from arcmobile.export.model.forms import REFERENCE
from arcmobile.export.programs import (
    FramePlan,
    plan_frames,
    tensor_specs,
    tokenize_example,
    walk_components,
)
from arcmobile.quant.recipes import REFERENCE_RECIPE
from arcmobile.runtime.bundle import Component, Entry, Fidelity, FileRecord, Manifest
from arcmobile.runtime.engine import Array, Engine
from arcmobile.runtime.errors import EngineError
from arcmobile.runtime.tensors import CONDITIONER, DIT, ENCODER, stage_of
from arcmobile.runtime.tokenizer import PromptTokenizer

BACKEND_NAME = "torch"


class ReferenceEngine(Engine):
    """Runs the networks of a checkpoint.

    Args:
        folder: the checkpoint.
        manifest: from :func:`reference_manifest`.
        device: ``cpu`` or ``cuda``.
        dtype: ``torch.float32``, or ``torch.float16`` / ``torch.bfloat16``.
        compiled: whether to run through ``torch.compile``.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        manifest: Manifest,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ):
        super().__init__(manifest)
        self._folder, self._device, self._dtype, self._compiled = folder, device, dtype, compiled
        self._networks: dict[str, nn.Module] = {}

    def _load(self, component: str) -> None:
        network = self._folder.build(stage_of(component), REFERENCE).to(self._device, self._dtype)
        if self._compiled:
            network.compile(fullgraph=True)
        self._networks[component] = network

    def _unload(self, component: str) -> None:
        del self._networks[component]
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        tensors = []
        for array in inputs:
            tensor = torch.from_numpy(array).to(self._device)
            tensors.append(tensor.to(self._dtype) if tensor.is_floating_point() else tensor)
        try:
            with torch.inference_mode():
                outputs = self._networks[component](*tensors)
        except torch.OutOfMemoryError:
            raise EngineError(
                f"{component}.{entry.name}: out of memory on {self._device}; use --device cpu"
            ) from None
        named = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.to("cpu", torch.float32).numpy() for output in named]


def reference_manifest(folder: CheckpointFolder, frames: FramePlan) -> Manifest:
    """Return the manifest of a float32 bundle whose files are the checkpoint's.

    The decoder must be whole in ``frames``: between parts, features would leave the device.
    Shapes come from networks of empty (``meta``) tensors, so nothing is loaded.
    """
    weights = FileRecord(
        file=folder.model_file.name, sha256=folder.digest(), bytes=folder.model_file.stat().st_size
    )
    tokens = tokenize_example(folder_tokenizer(folder))
    names = (CONDITIONER, DIT, *(part.component for part in frames.decoder), ENCODER)
    components = {}
    for examples in walk_components(names, folder.config, frames, tokens):
        network = folder.build_empty(stage_of(examples.component))
        components[examples.component] = Component(
            **weights.model_dump(),
            precision={examples.component: "fp32"},
            entries=tuple(
                Entry(
                    name=entry.name,
                    frames=entry.frames,
                    inputs=tensor_specs(entry.inputs),
                    outputs=tensor_specs(examples.run(network, entry)),
                )
                for entry in examples.entries
            ),
            fidelity=Fidelity(max_abs_error=0.0, snr_db=None, cosine=1.0),
        )
    text = tokenizer_json(folder).encode()
    return build_manifest(
        folder,
        frames,
        components,
        model_id=folder.path.resolve().name,
        recipe=REFERENCE_RECIPE,
        backend=BACKEND_NAME,
        digest=weights.sha256,
        tokenizer_files=[
            FileRecord(file="tokenizer.json", sha256="0" * 64, bytes=len(text)),
        ],
        tools={"torch": torch.__version__},
    )


def open_reference(
    checkpoint: Path,
    text_encoder: Path | None = None,
    device: str = "cpu",
    half: bool = False,
    compile: bool = False,
) -> tuple[Engine, Manifest, PromptTokenizer]:
    """Engine, manifest and tokenizer of a checkpoint, for the runtime's pipeline.

    ``half`` is float16 on CUDA and bfloat16 on CPU (whose float16 products are emulated).

    Raises:
        CheckpointError: the checkpoint is not sound.
        EngineError: the device does not exist.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError("--device cuda: PyTorch sees no CUDA device; use --device cpu")
    try:
        target = torch.device(device)
    except RuntimeError:
        raise EngineError(f"--device {device}: not a device; use cpu or cuda") from None
    folder = CheckpointFolder.open(checkpoint, text_encoder)
    frames = plan_frames(folder.config, window=0, whole_decoder=True)
    manifest = reference_manifest(folder, frames)
    dtype = torch.float32
    if half:
        dtype = torch.float16 if target.type == "cuda" else torch.bfloat16
    engine = ReferenceEngine(folder, manifest, target, dtype, compile)
    return engine, manifest, folder_tokenizer(folder)
