"""Sizes of a run: the full one for a GPU, a tiny one to rehearse on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from arcmobile.posttrain.training.settings import ArcSettings, FlowSettings


@dataclass(frozen=True)
class RunSize:
    """Sizes of one run.

    Attributes:
        sounds: most sounds to synthesize; training uses those that are ready.
        fewest_sounds: sounds that training waits for.
        shard: sounds of a file.
        flow: settings of flow matching; the clock decides how many steps there are.
        arc: settings of ARC; likewise.
        flow_share: share of the training time for flow matching.
        held_out: captions of each prompt set that candidates are judged on.
        candidates: of ARC, judged while it trains.
        guided_steps: of the flow model, to compare with.
        judge_seconds: kept at the end for candidates that are still being judged.
        most_steps: of each training, for rehearsals; 0: no limit.
    """

    sounds: int
    fewest_sounds: int
    shard: int
    flow: FlowSettings
    arc: ArcSettings
    flow_share: float = 0.5
    held_out: int = 92
    candidates: int = 8
    guided_steps: int = 50
    judge_seconds: float = 20.0
    most_steps: int = 0


SIZES = {
    # Batches 16 times those of the training on two cores, and the rates that were best there.
    "full": RunSize(
        sounds=122_880,
        fewest_sounds=16_384,
        shard=128,
        flow=FlowSettings(batch=1024, learning_rate=2e-3, average=0.999, bfloat16=True),
        arc=ArcSettings(
            batch=256,
            generator_rate=8e-5,
            discriminator_rate=8e-5,
            flow=0.5,
            penalty=0.5,
            renoise_mean=-0.7,
            average=0.998,
            bfloat16=True,
        ),
    ),
    "tiny": RunSize(
        sounds=48,
        fewest_sounds=16,
        shard=8,
        flow=FlowSettings(batch=4, warmup=2, average=0.9),
        arc=ArcSettings(
            batch=4,
            generator_rate=1e-5,
            discriminator_rate=1e-5,
            generator_from=1,
            warmup=1,
            flow=0.5,
            penalty=0.5,
            penalty_every=2,
            renoise_mean=-0.7,
            average=0.9,
        ),
        held_out=2,
        candidates=2,
        guided_steps=2,
        judge_seconds=15.0,
        most_steps=6,
    ),
}
"""By name, as in `run.sh --size`."""
