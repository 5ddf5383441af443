"""What `arcmobile bench gpu` hands to the benchmark: a model's networks on their device."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch

from arcmobile.bench.device_facts import FACTS_SCRIPT, parse_facts
from arcmobile.bench.gpu import Array, Dtype, EngineFacts
from arcmobile.bench.probe import parse_sections
from arcmobile.bench.result import Environment
from arcmobile.export.gpu.engine import (
    FORM,
    GpuGeneration,
    GpuNetworks,
    Timing,
    fastest_decoder_form,
    product_precision,
)
from arcmobile.export.gpu.model import GpuModel
from arcmobile.runtime import memory

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_COPIED = 1 << 31  # bytes
_PRODUCT = 8192  # rows and columns


class TorchGeneration:
    """A generation of :class:`GpuGeneration` in the precision of its engine."""

    def __init__(self, networks: GpuNetworks, steps: int, batch: int):
        self._networks = networks
        with self._precision():
            self._generation = GpuGeneration(networks, steps=steps, batch=batch)

    @property
    def graphs(self) -> bool:
        """Whether the generation is replayed as a CUDA graph."""
        return self._generation.graphs

    @property
    def fallback(self) -> str:
        """Why it is not; empty if it is."""
        return self._generation.fallback

    def draw_noise(self, seed: int) -> None:
        """Fill the noise buffers from a seed."""
        self._generation.draw_noise(seed)

    def run(self, prompts: Sequence[str], seconds: float) -> Timing:
        """Generate one sound per prompt and time the stages."""
        with self._precision():
            return self._generation.run(prompts, seconds)

    def results(self) -> tuple[Array, Array]:
        """Return the first latent and sound, float32 ``(channels, frames or samples)``."""
        made = self._generation.latent[0], self._generation.audio[0]
        latent, audio = (tensor.float().cpu().numpy().copy() for tensor in made)
        return latent, audio

    def _precision(self) -> AbstractContextManager[None]:
        tf32 = self._networks.dtype != torch.float32
        return product_precision(self._networks.device, tf32=tf32)


class TorchEngine:
    """The networks of one model, one set of them at a time."""

    def __init__(self, model: GpuModel):
        self._model = model
        self._networks: GpuNetworks | None = None
        self._forms: dict[str, tuple[str, dict[str, float]]] = {}
        if model.device.type == "cuda":
            torch.backends.cudnn.benchmark = True

    def facts(self) -> EngineFacts:
        """Describe the model, the device and the versions."""
        model = self._model
        return EngineFacts(
            model=model.name,
            digest=model.digest,
            seconds=model.seconds,
            frames=model.config.max_frames,
            environment=_environment(model.device),
            versions=_versions(model.device),
        )

    def prepare(self, dtype: Dtype, *, compiled: bool) -> str:
        """Put the networks on the device in ``dtype``; return the form of the decoder."""
        if self._networks is not None and self._networks.compiled:
            self._networks = None
            torch.compiler.reset()
        self._networks = None
        self._collect()
        chosen, form = _DTYPES[dtype], FORM
        if self._model.device.type == "cuda" and chosen != torch.float32:
            if dtype not in self._forms:
                self._forms[dtype] = fastest_decoder_form(self._model, chosen)
            form = self._forms[dtype][0]
        self._networks = GpuNetworks(self._model, chosen, decoder_form=form, compiled=compiled)
        return form

    def weights(self) -> Mapping[str, int]:
        """Return bytes of weights by component."""
        return self._networks.bytes if self._networks is not None else {}

    def generation(self, steps: int, batch: int) -> TorchGeneration:
        """Return a generation of ``batch`` sounds in ``steps`` steps."""
        assert self._networks is not None  # prepare() has run
        self._collect()
        return TorchGeneration(self._networks, steps, batch)

    def peak_bytes(self) -> int:
        """Return the peak of device memory (on a CPU: resident memory) since the last call."""
        if self._model.device.type != "cuda":
            return memory.peak_bytes()
        most = torch.cuda.max_memory_allocated(self._model.device)
        torch.cuda.reset_peak_memory_stats(self._model.device)
        return most

    def _collect(self) -> None:
        gc.collect()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()


def measured_ceilings(device: torch.device) -> dict[str, float]:
    """Measure peak rates of a GPU: copies in its memory, products in half precision.

    Empty on a CPU.
    """
    if device.type != "cuda":
        return {}
    source = torch.randn(_COPIED // 4, device=device)
    target = torch.empty_like(source)
    left = torch.randn(_PRODUCT, _PRODUCT, device=device, dtype=torch.bfloat16)
    right = torch.randn(_PRODUCT, _PRODUCT, device=device, dtype=torch.bfloat16)

    def seconds(action: Callable[[], object]) -> float:
        spent = []
        for _ in range(6):
            torch.cuda.synchronize(device)
            begin = time.perf_counter()
            action()
            torch.cuda.synchronize(device)
            spent.append(time.perf_counter() - begin)
        return min(spent)

    return {
        "copy, GB/s": 2e-9 * _COPIED / seconds(lambda: target.copy_(source)),
        "bfloat16, TFLOP/s": 2e-12 * _PRODUCT**3 / seconds(lambda: left @ right),
    }


def _environment(device: torch.device) -> Environment:
    shown = subprocess.run(["sh", "-c", FACTS_SCRIPT], capture_output=True, text=True, check=False)
    facts = parse_facts(parse_sections(shown.stdout))
    card = memory = None
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        card, memory = properties.name, properties.total_memory
    return Environment(
        target=device.type,
        device=card or facts.cpu,
        cpu=facts.cpu,
        architecture=facts.machine,
        features=facts.features,
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory or facts.memory_bytes,
        system=facts.system,
    )


def _versions(device: torch.device) -> dict[str, str]:
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())
        versions["driver"] = _driver()
    return versions


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return shown.stdout.splitlines()[0].strip() if shown.stdout.strip() else "unknown"
