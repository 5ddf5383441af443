"""Prompt to samples on one GPU: resident networks, and three CUDA graphs for a whole generation.

What the full size asks of an H100 (3.3 TB/s, some 600 TFLOP/s of half precision within reach), for
11.9 s of sound (256 frames) in 8 steps:

============  ============  ===============  =================================================
stage         arithmetic    memory           what decides
============  ============  ===============  =================================================
conditioner   12 GFLOP      0.4 GB           some 300 small kernels: 3 us each when replayed
DiT, 8 steps  1.3 TFLOP     6 GB of weights  144 products a step of 257 rows, 5 to 8 us each
decoder       1.35 TFLOP    10 GB fused      convolutions; unfused, snakes move 30 GB
============  ============  ===============  =================================================

So 4 to 5 ms of arithmetic and 5 ms of memory; launching some 8000 kernels one by one from Python
would take 50 to 80 ms. Hence:

- **CUDA graphs.** Conditioner, all steps of the sampler, and decoder are captured once; a
  generation is a copy of ids and noise, and three replays.
- **Fused attention** (flash kernels) on views, without copies; keys and values of the prompt are
  laid out for it once per prompt.
- **Compiled blocks.** A DiT block is compiled once and serves all of them; in the decoder,
  compiling puts each snake, with the residual sum before it, into one kernel.
- **Channels last** in the decoder, where tensor cores want it; which form of it is fastest is
  measured (:data:`DECODER_FORMS`).
- **Half precision where it pays.** The text encoder stays float32 with TF32 products: it is 1 % of
  the work, and T5 overflows float16. Fourier features of time and seconds are float32 too: their
  angles reach tens of radians. Latents and noise are float32 between steps.

On a CPU the same code runs without graphs: that is how it is tested.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arcmobile.export.gpu.model import GpuModel
from arcmobile.export.manifest import SCHEDULE
from arcmobile.export.model.conditioning import Conditioner
from arcmobile.export.model.dit import DiffusionTransformer
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.oobleck import OobleckDecoder
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

TOKENIZER = "tokenizer"
STAGES = (TOKENIZER, CONDITIONER, DIT, DECODER)

DECODER_FORMS = {
    "channels first": NetworkForm("gpu", fused_norm=True, fused_attention=True, flat_conv=True),
    "channels last": NetworkForm("gpu", fused_norm=True, fused_attention=True, flat_conv=False),
    "channels last, upsampling as products": NetworkForm(
        "gpu", fused_norm=True, fused_attention=True, flat_conv=False, product_upsample=True
    ),
}
"""Forms of the decoder that compute the same; the first serves the other networks as well."""
FORM = "channels first"

_WARM_UPS = 3  # before a capture: libraries choose their kernels then
_GRAPHS = 64  # shapes and modes of a compiled block; the default is 8


def compile_blocks(dit: DiffusionTransformer, *, dynamic: bool | None = None) -> None:
    """Compile a DiT block by block: all blocks share one graph for each shape of input.

    The whole network at once would take as many times longer to compile as it has blocks.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _GRAPHS)
    for block in dit.layers:
        block.compile(dynamic=dynamic)


class _Float32(nn.Module):
    """A network that is kept in float32 inside one of another dtype."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.inner, self.dtype = inner, dtype

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.inner(x.float())
        return made.to(self.dtype)


class GpuNetworks:
    """The networks of a model, resident on a device.

    Args:
        model: whose they are.
        dtype: of DiT and decoder; float32 keeps everything as the reference engine computes it.
        decoder_form: one of :data:`DECODER_FORMS`.
        compiled: whether DiT and decoder go through ``torch.compile``.
    """

    def __init__(
        self,
        model: GpuModel,
        dtype: torch.dtype,
        *,
        decoder_form: str = FORM,
        compiled: bool = False,
    ):
        self.model, self.device, self.dtype = model, model.device, dtype
        self.decoder_form, self.compiled = decoder_form, compiled
        form = DECODER_FORMS[FORM]
        conditioner = model.build(CONDITIONER, form)
        dit = model.build(DIT, form)
        assert isinstance(conditioner, Conditioner)
        assert isinstance(dit, DiffusionTransformer)
        self.conditioner, self.dit = conditioner, dit
        if dtype != torch.float32:
            features = dit.timestep
            dit.timestep = nn.Identity()  # type: ignore[assignment]
            dit.to(dtype).timestep = _Float32(features, dtype)  # type: ignore[assignment]
        self.decoder = built_decoder(model, dtype, decoder_form)
        if compiled:
            compile_blocks(dit, dynamic=False)
            self.decoder.compile(fullgraph=True, dynamic=False)

    @property
    def bytes(self) -> dict[str, int]:
        """Size of each network's weights on the device."""
        networks = {CONDITIONER: self.conditioner, DIT: self.dit, DECODER: self.decoder}
        return {
            name: sum(value.nbytes for value in network.parameters())
            for name, network in networks.items()
        }

    def condition(self, ids: Tensor, mask: Tensor, seconds: Tensor) -> tuple[Tensor, ...]:
        """Global vector, keys and values of prompts, as the DiT's ``forward`` wants them.

        Keys are laid out so that their transpose, which fused attention reads, is contiguous.
        """
        numbers = [seconds] * len(self.conditioner.number_ids)
        vector, keys, values = self.conditioner(ids, mask, *numbers)
        keys = keys.transpose(1, 2).to(self.dtype).contiguous().transpose(1, 2)
        return vector.to(self.dtype), keys, values.to(self.dtype)

    def sample(
        self, noise: Tensor, times: Tensor, levels: Sequence[float], *conditioning: Tensor
    ) -> Tensor:
        """Sample latents by ping-pong, as :func:`arcmobile.runtime.sampler.pingpong`.

        Args:
            noise: (steps, B, channels, frames) float32, what is started from, then fresh noise.
            times: (steps, B) float32, ``levels`` but the last for every prompt.
            levels: times of the schedule, steps + 1.
            conditioning: of :meth:`condition`.

        Returns:
            (B, channels, frames) float32.
        """
        x = noise[0]
        for index, (now, following) in enumerate(pairwise(levels)):
            velocity = self.dit(x.to(self.dtype), times[index], *conditioning)
            clean = x - now * velocity.float()
            if following == 0:
                return clean
            x = (1 - following) * clean + following * noise[index + 1]
        return x

    def decode(self, latent: Tensor) -> Tensor:
        """Decode (B, channels, frames) float32 -> audio (B, channels, samples) float32."""
        audio: Tensor = self.decoder(latent.to(self.dtype))
        return audio.float().contiguous()


def built_decoder(model: GpuModel, dtype: torch.dtype, form: str) -> OobleckDecoder:
    """Return the whole decoder in one of :data:`DECODER_FORMS`, in its memory layout."""
    network = model.build(DECODER, DECODER_FORMS[form])
    assert isinstance(network, OobleckDecoder)
    network.to(dtype)
    if not DECODER_FORMS[form].flat_conv:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def fastest_decoder_form(
    model: GpuModel, dtype: torch.dtype, repeats: int = 3
) -> tuple[str, dict[str, float]]:
    """Find which of :data:`DECODER_FORMS` decodes a sound soonest.

    Returns:
        Its name, and the seconds of each form (infinite where it fails).
    """
    latent = torch.randn(1, *model.latent_shape, device=model.device).to(dtype)

    def seconds(form: str) -> float:
        decoder = built_decoder(model, dtype, form)
        spent = []
        with torch.no_grad():
            for _ in range(_WARM_UPS + repeats):
                _wait_for(model.device)
                begin = time.perf_counter()
                decoder(latent)
                _wait_for(model.device)
                spent.append(time.perf_counter() - begin)
        return min(spent[_WARM_UPS:])

    spent = {}
    for form in DECODER_FORMS:
        try:
            spent[form] = seconds(form)
        except RuntimeError:  # no kernel for it, or too little memory
            spent[form] = math.inf
    return min(spent, key=spent.__getitem__), spent


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Timing:
    """Seconds of one generation: from the prompts until the samples are there, and by stage."""

    total: float
    stages: dict[str, float]


class GpuGeneration:
    """A generation of fixed batch and steps, captured as graphs where the device has them.

    Args:
        networks: what it runs.
        steps: of the sampler.
        batch: prompts at a time.
        graphs: whether to capture; on a CPU nothing is.

    Attributes:
        graphs: whether it runs as graphs.
        fallback: why it does not although it should.
        latent, audio: of the last generation, overwritten by the next.
    """

    def __init__(
        self, networks: GpuNetworks, *, steps: int, batch: int = 1, graphs: bool = True
    ) -> None:
        self.networks, self.steps, self.batch = networks, steps, batch
        model, device = networks.model, networks.device
        levels = pingpong_schedule(
            steps, logsnr_start=SCHEDULE.logsnr_start, logsnr_end=SCHEDULE.logsnr_end
        )
        self._levels = levels.tolist()
        self._times = torch.tensor(levels[:-1], device=device)[:, None].repeat(1, batch)
        self._ids = torch.zeros(batch, model.tokens, dtype=torch.int64, device=device)
        self._mask = torch.zeros(batch, model.tokens, device=device)
        self._seconds = torch.zeros(batch, device=device)
        self.noise = torch.zeros(steps, batch, *model.latent_shape, device=device)
        self.latent = self.audio = torch.empty(0)
        self._told: tuple[Tensor, ...] = ()
        self.fallback = ""
        self.graphs = False
        self._stages: Callable[[Callable[[str], None]], None] = self._run_stages
        self._run_stages(lambda name: None)  # compiles what is to be compiled
        if graphs and device.type == "cuda":
            try:
                self._stages = self._captured()
                self.graphs = True
            except RuntimeError as error:
                _wait_for(device)
                self.fallback = f"no CUDA graph: {str(error).splitlines()[0]}"

    def draw_noise(self, seed: int) -> None:
        """Fill the noise on the device; the first prompt's does not depend on the batch."""
        random = torch.Generator(self.noise.device)
        for place in range(self.batch):
            random.manual_seed(seed + place)
            shape = (self.steps, *self.noise.shape[2:])
            self.noise[:, place] = torch.randn(shape, generator=random, device=self.noise.device)

    def run(self, prompts: Sequence[str], seconds: float) -> Timing:
        """Generate from ``self.noise``; ``audio`` holds (batch, channels, samples) then."""
        device = self.networks.device
        marks = _Marks(device)
        begin = time.perf_counter()
        tokens = [self.networks.model.tokenizer(prompt) for prompt in prompts]
        ids = torch.from_numpy(np.concatenate([one.input_ids for one in tokens]))
        mask = torch.from_numpy(np.concatenate([one.attention_mask for one in tokens]))
        read = time.perf_counter() - begin
        marks.set("")
        self._ids.copy_(ids, non_blocking=True)
        self._mask.copy_(mask, non_blocking=True)
        self._seconds.fill_(seconds)
        self._stages(marks.set)
        _wait_for(device)
        total = time.perf_counter() - begin
        return Timing(total, {TOKENIZER: read, **marks.between()})

    @torch.no_grad()
    def _run_stages(self, done: Callable[[str], None]) -> None:
        self._condition()
        done(CONDITIONER)
        self._sample()
        done(DIT)
        self._decode()
        done(DECODER)

    def _condition(self) -> None:
        self._told = self.networks.condition(self._ids, self._mask, self._seconds)

    def _sample(self) -> None:
        self.latent = self.networks.sample(self.noise, self._times, self._levels, *self._told)

    def _decode(self) -> None:
        self.audio = self.networks.decode(self.latent)

    @torch.no_grad()
    def _captured(self) -> Callable[[Callable[[str], None]], None]:
        """Capture the three stages as graphs; results of one are what the next was captured on."""
        stream = torch.cuda.Stream(self.networks.device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._run_stages(lambda name: None)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graphs: list[tuple[str, torch.cuda.CUDAGraph]] = []
        pool: Any = None
        for name, stage in (
            (CONDITIONER, self._condition),
            (DIT, self._sample),
            (DECODER, self._decode),
        ):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                stage()
            pool = graph.pool()
            graphs.append((name, graph))

        def replay(done: Callable[[str], None]) -> None:
            for name, graph in graphs:
                graph.replay()
                done(name)

        return replay


class _Marks:
    """Points in time on a device, and what lies between them."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def set(self, name: str) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))

    def between(self) -> dict[str, float]:
        """Return the seconds up to each mark from the one before; the device has to be done."""
        milli = 1e-3
        return {
            name: before.elapsed_time(now) * milli if self._cuda else now - before
            for (_, before), (name, now) in pairwise(self._marks)
        }


@contextmanager
def product_precision(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Tell whether float32 products and convolutions on a GPU may round their inputs to TF32."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
