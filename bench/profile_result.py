"""The result file of a run that was profiled, by instruction or by operator, rather than timed."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata

from arcmobile.bench.measure import bundle_facts
from arcmobile.bench.result import (
    BenchResult,
    Environment,
    InstructionProfile,
    OperatorProfile,
    RequestFacts,
    RunnerFacts,
)
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.request import GenerationRequest, make_plan


def profile_result(
    bundle: Bundle,
    request: GenerationRequest,
    runner: RunnerFacts,
    environment: Environment,
    *,
    instructions: tuple[InstructionProfile, ...] = (),
    operators: tuple[OperatorProfile, ...] = (),
) -> BenchResult:
    """A result without measurements; raises :class:`InputError` for a request out of range."""
    plan = make_plan(request, bundle.manifest)
    return BenchResult(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        arcmobile=metadata.version("arcmobile"),
        runner=runner,
        bundle=bundle_facts(bundle),
        request=RequestFacts(
            prompt=request.prompt,
            seconds=plan.samples / bundle.manifest.audio.sample_rate,
            steps=len(plan.times) - 1,
            seed=plan.seed,
            frames=plan.frames,
        ),
        environment=environment,
        instructions=instructions,
        operators=operators,
    )
