"""Prediction of the time of a generation on a device that is not at hand: a roofline per stage.

Two kinds of operators, run one after the other as XNNPACK does:

* products (linear layers, attention, convolutions): multiply-accumulates over the rate of the
  instructions its kernels use, or the weights and activations over the memory bandwidth, whichever
  takes longer;
* everything else (activations, norms, softmax, additions): one pass each over its tensors, at the
  memory's pace where these do not fit the last cache.

No program reaches the peaks of a device, so each is multiplied by a share: :data:`OPTIMISTIC`, what
single kernels reach, or :data:`EXPECTED`, that times :data:`TYPICAL`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from arcmobile.bench.device_profiles import DeviceProfile, Instruction, NamedProfile, Outer
from arcmobile.bench.labels import STAGES
from arcmobile.bench.workload import ComponentWork, Workload
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bundle_schema import Arithmetic

Kind = Literal["linear", "convolution"]
_GIGA: Final = 1e9
_MEGA: Final = 1e6


@dataclass(frozen=True)
class Shares:
    """How much of its peaks a device reaches.

    ``simd`` of the vector instructions' rate, ``outer`` of the matrix unit's, ``bandwidth`` of the
    memory's; ``cached_bytes_per_cycle`` is what a core streams through its caches. With
    ``sustained``, clocks are those that remain under load.
    """

    simd: Mapping[tuple[Arithmetic, Kind], float]
    outer: float
    bandwidth: float
    cached_bytes_per_cycle: float
    sustained: bool

    def times(self, factor: float) -> Shares:
        """Return all shares times the factor, at sustained clocks."""
        return Shares(
            simd={kind: share * factor for kind, share in self.simd.items()},
            outer=self.outer * factor,
            bandwidth=self.bandwidth * factor,
            cached_bytes_per_cycle=self.cached_bytes_per_cycle * factor,
            sustained=True,
        )


_KERNELS: Final = "XNNPACK"
# Measured with XNNPACK of ExecuTorch 1.5.1 on two Zen 4 cores at 3.7 GHz: linear layers 1024-4096-
# 1024 of 257 rows reach 0.91 (fp32) and 0.83 (int8 dynamic) of the peak, (1, 7) convolutions of 512
# channels 0.93 and 0.79. The matrix unit's and the memory's shares are assumed.
OPTIMISTIC: Final = Shares(
    simd={
        ("fp32", "linear"): 0.91,
        ("fp16", "linear"): 0.91,
        ("int8", "linear"): 0.83,
        ("fp32", "convolution"): 0.93,
        ("fp16", "convolution"): 0.93,
        ("int8", "convolution"): 0.79,
    },
    outer=0.85,
    bandwidth=0.8,
    cached_bytes_per_cycle=16,
    sustained=False,
)
# Whole programs on devices with other things to do, with kernels that were not tuned for their
# cores, on cores of different speed: taken as this part of what single kernels reach. A round
# figure, not fitted; the published figures show the error it leads to.
TYPICAL: Final = 0.7
EXPECTED: Final = OPTIMISTIC.times(TYPICAL)

# The kernels XNNPACK has for a product, best first: dynamic int8 convolutions have none with outer
# products (symbols of the aarch64 library of ExecuTorch 1.5.1; `bench instructions` shows the same
# on an emulated core with SME: SMOPA in the DiT, SMMLA in the decoder).
_OUTER: Final[Mapping[tuple[Arithmetic, Kind], Outer]] = {
    ("int8", "linear"): "int8",
    ("fp16", "linear"): "fp16",
    ("fp16", "convolution"): "fp16",
    ("fp32", "linear"): "fp32",
    ("fp32", "convolution"): "fp32",
}
_SIMD: Final[Mapping[Arithmetic, tuple[Instruction, ...]]] = {
    "int8": ("int8_mmla", "int8_dot", "fp32"),
    "fp16": ("fp16", "fp32"),
    "fp32": ("fp32",),
}


# What people call the instructions, on Arm and on x86.
_ARM_NAMES: Final[Mapping[Instruction, str]] = {
    "fp32": "FMLA",
    "fp16": "FMLA",
    "int8_dot": "SDOT",
    "int8_mmla": "SMMLA",
}
_X86_NAMES: Final[Mapping[Instruction, str]] = {
    "fp32": "VFMADD",
    "fp16": "VFMADD",
    "int8_dot": "VPDPBUSD",
    "int8_mmla": "",
}


@dataclass(frozen=True)
class Rate:
    """10^9 multiply-accumulates per second at most, and the instructions that make them."""

    gmacs: float
    by: str


@dataclass(frozen=True)
class StageTime:
    """Seconds of one stage, all calls: of its products, and of everything else.

    The decoder's are those of all its parts; its ``calls`` are those of the last part, a chunk of
    sound each. ``first`` are the seconds before the first chunk: of the decoder, the calls that
    make it; of the others, all. ``bound`` says what the products mostly wait for: ``compute`` or
    ``memory``. ``by`` names the instructions of each kind of product, the most frequent first,
    e.g. ``{"int8 linear": "SMMLA"}``
    """

    name: str
    calls: int
    products: float
    elementwise: float
    first: float
    bound: Literal["compute", "memory"]
    by: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Products and everything else."""
        return self.products + self.elementwise


@dataclass(frozen=True)
class Estimate:
    """All stages; loading is not included."""

    stages: tuple[StageTime, ...]

    @property
    def seconds(self) -> float:
        """All stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def first_audio(self) -> float:
        """Seconds until the first chunk of sound."""
        return sum(stage.first for stage in self.stages)


@dataclass(frozen=True)
class Prediction:
    """A workload on a device: ``expected``, and ``optimistic`` as the least that is possible."""

    device: NamedProfile
    threads: int
    workload: Workload
    expected: Estimate
    optimistic: Estimate


def predict(
    workload: Workload, device: NamedProfile, threads: int | None = None, *, outer: bool = True
) -> Prediction:
    """Estimate the time of a workload on a device.

    Args:
        workload: what is computed.
        device: where.
        threads: None for the profile's default; they take the fastest cores.
        outer: whether the matrix unit is used where there is one.

    Raises:
        InputError: the device has fewer cores than threads.
    """
    count = device.profile.default_threads if threads is None else threads
    stages = {stage: workload.of_stage(stage) for stage in STAGES}
    estimates = [
        Estimate(
            tuple(
                _stage(name, components, device.profile, count, shares, outer)
                for name, components in stages.items()
                if components
            )
        )
        for shares in (EXPECTED, OPTIMISTIC)
    ]
    return Prediction(device, count, workload, *estimates)


def rate(
    device: DeviceProfile, arithmetic: Arithmetic, kind: Kind, threads: int, outer: bool = True
) -> Rate:
    """Return the peak of a kind of product on the threads' cores, at the stated clocks."""
    unit, product = device.matrix_unit, _OUTER.get((arithmetic, kind))
    if outer and unit is not None and product is not None and product in unit.gmacs:
        return Rate(unit.gmacs[product], unit.name)
    names = _ARM_NAMES if "asimd" in device.features else _X86_NAMES
    total, used = 0.0, []
    for cluster in device.placed(threads):
        best = next(i for i in _SIMD[arithmetic] if i in cluster.macs_per_cycle)
        total += cluster.clock_ghz * cluster.macs_per_cycle[best]
        used.append(names[best])
    return Rate(total, " + ".join(dict.fromkeys(used)))


def bandwidth(device: DeviceProfile, threads: int) -> float:
    """Return the bytes per second that the threads' cores draw from memory at most."""
    cores = sum(cluster.bandwidth_gb_s for cluster in device.placed(threads))
    return min(cores, device.memory.bandwidth_gb_s) * _GIGA


@dataclass(frozen=True)
class _Call:
    """Seconds of one call of a component: its products' arithmetic and traffic, everything else."""

    compute: float
    traffic: float
    elementwise: float

    @property
    def products(self) -> float:
        return max(self.compute, self.traffic)

    @property
    def seconds(self) -> float:
        return self.products + self.elementwise


def _stage(
    name: str,
    components: Sequence[ComponentWork],
    device: DeviceProfile,
    threads: int,
    shares: Shares,
    outer: bool,
) -> StageTime:
    calls = [_call(component, device, threads, shares, outer) for component in components]
    pairs = list(zip(components, calls, strict=True))
    products = sum(one.calls * call.products for one, call in pairs)
    computing = sum(
        one.calls * call.products for one, call in pairs if call.compute >= call.traffic
    )
    macs: Counter[tuple[Arithmetic, Kind]] = Counter()
    for one in components:
        for arithmetic, kind, count in _products(one):
            macs[arithmetic, kind] += one.calls * count
    return StageTime(
        name=name,
        calls=components[-1].calls,
        products=products,
        elementwise=sum(one.calls * call.elementwise for one, call in pairs),
        first=sum(one.first_calls * call.seconds for one, call in pairs),
        bound="compute" if 2 * computing >= products else "memory",
        by={
            f"{arithmetic} {kind}": rate(device, arithmetic, kind, threads, outer).by
            for (arithmetic, kind), _ in macs.most_common()
        },
    )


def _products(component: ComponentWork) -> list[tuple[Arithmetic, Kind, int]]:
    """Multiply-accumulates of a call by arithmetic and kind, where there are any."""
    kinds: tuple[tuple[Kind, Mapping[Arithmetic, int]], ...] = (
        ("linear", component.work.linear_macs),
        ("convolution", component.work.convolution_macs),
    )
    return [(a, kind, count) for kind, macs in kinds for a, count in macs.items() if count]


def _call(
    component: ComponentWork, device: DeviceProfile, threads: int, shares: Shares, outer: bool
) -> _Call:
    work = component.work
    clock = device.sustained_clock if shares.sustained else 1.0
    compute = 0.0
    for arithmetic, kind, count in _products(component):
        peak = rate(device, arithmetic, kind, threads, outer)
        simd = device.matrix_unit is None or peak.by != device.matrix_unit.name
        share = shares.simd[arithmetic, kind] if simd else shares.outer
        compute += count / (peak.gmacs * _GIGA * share * clock)
    memory = bandwidth(device, threads) * shares.bandwidth
    cached = work.largest_bytes <= device.memory.cache_mb * _MEGA
    traffic = (component.weight_bytes + (0 if cached else work.product_bytes)) / memory
    cores = sum(cluster.clock_ghz for cluster in device.placed(threads)) * clock * _GIGA
    passing = min(cores * shares.cached_bytes_per_cycle, memory if not cached else float("inf"))
    return _Call(compute, traffic, work.elementwise_bytes / passing)


def assumptions(one: Prediction) -> list[str]:
    """Return what a prediction assumes, in sentences."""
    profile, shares = one.device.profile, sorted(OPTIMISTIC.simd.values())
    lines = [
        f"at best {_percent(shares[0])} to {_percent(shares[-1])} of the instructions' peak "
        "(single XNNPACK kernels, measured on another machine) and "
        f"{_percent(OPTIMISTIC.bandwidth)} of the memory's; expected: {TYPICAL:g} times that",
        "operators run one after the other; all but products pass over their tensors once",
    ]
    if profile.matrix_unit is not None:
        lines.append(
            f"{profile.matrix_unit.name}: {_percent(OPTIMISTIC.outer)} of its peak at best; "
            "XNNPACK has no such kernels for dynamic int8 convolutions"
        )
    spec = BACKENDS.get(one.workload.backend)
    if spec is not None and spec.kernels != _KERNELS:
        lines.append(f"kernels are {_KERNELS}'s; {spec.title} has others")
    return [*lines, *profile.assumed]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
