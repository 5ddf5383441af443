"""The second part of a run: flow matching, ARC, and the choice of the best candidate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.arc.train import base_generator
from arcmobile.posttrain.arc.trainer import ArcTrainer
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.gpu_run.clock_training import (
    Clock,
    begun,
    falling,
    train_by_clock,
    wait_for_sounds,
)
from arcmobile.posttrain.gpu_run.judging import Judge, Judgement
from arcmobile.posttrain.gpu_run.resident_data import ResidentLatents
from arcmobile.posttrain.gpu_run.results import ARC, FLOW, RunRecord
from arcmobile.posttrain.gpu_run.settings import RunSize
from arcmobile.posttrain.training.networks import TrainableGenerator

GUIDANCE = 4.0
_LISTENERS = 8
_ARC_LEVEL = 0.5  # of ARC's time at full rate
_ARC_LAST_RATE = 0.2
_FIRST_CANDIDATE = 0.3  # of ARC's time

Values = Mapping[str, Tensor]


@dataclass
class _Candidates:
    """Candidates of ARC: handed to the judge, and the best so far written."""

    judge: Judge
    record: RunRecord
    generator: TrainableGenerator
    kept: dict[str, dict[str, Tensor]]
    best: Judgement | None = None

    def hand_in(self, name: str, values: Values) -> None:
        """Has a candidate judged; until one has been, the last one is kept unheard."""
        self.kept[name] = {key: value.detach().cpu().clone() for key, value in values.items()}
        if self.best is None:
            self.write(name, self.kept[name])
        self.judge.submit(name, values)

    def hear(self, judgements: list[Judgement]) -> None:
        """Notes judgements; writes a candidate that is better than all before."""
        for one in judgements:
            judged = [*self.record.content.get("judged", []), one.record()]
            self.record.set(judged=judged)
            right = one.shares
            self.record.note(
                f"{one.name}: right sound {right['class']:.1%}, everything {right['all']:.1%}, "
                f"Fréchet {one.frechet:.2f}"
            )
            if one.name not in self.kept:
                continue
            values = self.kept.pop(one.name)
            if self.best is None or one.score > self.best.score:
                self.best = one
                self.write(one.name, values)

    def write(self, name: str, values: Values) -> None:
        tensors = self.generator.checkpoint_tensors(values)
        self.record.write_generator(ARC, tensors, candidate=name)
        self.record.set(chosen=name)


def train(
    base: CheckpointFolder,
    latents: Path,
    size: RunSize,
    record: RunRecord,
    *,
    seconds: float,
    device: torch.device,
    compiled: bool,
    seed: int = 0,
) -> None:
    """Trains for as long as that, judging included; everything is in ``record.out`` then.

    Args:
        base: the embedded checkpoint, whose generator training goes on from.
        latents: folder of the shards, which may still be growing.

    Raises:
        ArcMobileError: what failed, in one line; what came before is written.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    if compiled:  # what cannot be compiled, in whichever step, runs as it is
        torch._dynamo.config.suppress_errors = True
    whole = Clock.of(seconds)
    data = ResidentLatents(latents, size.sounds, device)
    listeners = min(_LISTENERS, max(1, len(os.sched_getaffinity(0)) - 1))
    judge = Judge(base, device, size.held_out, listeners)
    try:
        training_seconds = max(2.0, whole.left - size.judge_seconds)
        flow_clock = Clock.of(size.flow_share * training_seconds)
        wait_for_sounds(data, size.fewest_sounds, Clock.of(0.5 * flow_clock.left), record)
        flow = _train_flow(base, data, size, flow_clock, record, device, compiled, seed)
        record.write_generator(FLOW, flow.averaged_tensors(), step=flow.step)
        averaged = {name: value.clone() for name, value in flow.averaged.items()}
        judge.submit(
            f"flow, {size.guided_steps} steps, guidance {GUIDANCE:g}",
            averaged,
            steps=size.guided_steps,
            guidance=GUIDANCE,
        )
        judge.submit("flow, 8 steps", averaged, guidance=1.0)
        arc_clock = Clock(whole.end - size.judge_seconds)
        candidates = _Candidates(judge, record, base_generator(base), {})
        _train_arc(
            base, averaged, data, size, arc_clock, record, candidates, device, compiled, seed
        )
        candidates.hear(judge.wait(max(1.0, whole.left)))
        if candidates.best is None:
            record.note(f"{record.content['chosen']}: taken unheard, judging came too late")
    finally:
        judge.close()


def _train_flow(
    base: CheckpointFolder,
    data: ResidentLatents,
    size: RunSize,
    clock: Clock,
    record: RunRecord,
    device: torch.device,
    compiled: bool,
    seed: int,
) -> FlowTrainer:
    settings = size.flow

    def make(with_compiler: bool) -> FlowTrainer:
        return FlowTrainer(
            base_generator(base),
            settings,
            device=str(device),
            compiled=with_compiler,
            schedule=falling(clock, last=settings.last_rate, warmup=settings.warmup),
        )

    trainer, batch = begun(make, data, settings.batch, record, compiled=compiled, seed=seed)
    clock.start()
    means = train_by_clock(
        "flow",
        trainer,
        data,
        batch,
        clock,
        record,
        seed=seed + 1,
        most_steps=size.most_steps,
    )
    record.set(flow={"steps": trainer.step, "batch": batch, "losses": means})
    record.note(f"flow matching: {trainer.step} steps of {batch}, loss {means['flow']:.3f}")
    return trainer


def _train_arc(
    base: CheckpointFolder,
    values: Values,
    data: ResidentLatents,
    size: RunSize,
    clock: Clock,
    record: RunRecord,
    candidates: _Candidates,
    device: torch.device,
    compiled: bool,
    seed: int,
) -> None:
    def make(with_compiler: bool) -> ArcTrainer:
        generator = base_generator(base)
        with torch.no_grad():
            for name, value in generator.named_parameters():
                if name in values:
                    value.copy_(values[name])
        schedule = falling(clock, last=_ARC_LAST_RATE, level=_ARC_LEVEL)
        return ArcTrainer(
            generator,
            size.arc,
            device=str(device),
            base=base.digest(),
            compiled=with_compiler,
            schedule=schedule,
        )

    trainer, batch = begun(make, data, size.arc.batch, record, compiled=compiled, seed=seed)
    clock.start()
    span = 1 - _FIRST_CANDIDATE
    due = [_FIRST_CANDIDATE + span * k / size.candidates for k in range(1, size.candidates)]

    def all_values() -> dict[str, Tensor]:
        # The text encoder is not trained by ARC: it is the flow model's.
        return {**values, **trainer.averaged}

    def between(progress: float) -> None:
        if due and progress >= due[0]:
            while due and progress >= due[0]:
                due.pop(0)
            candidates.hand_in(f"arc, step {trainer.step}", all_values())
        candidates.hear(candidates.judge.finished())

    try:
        means = train_by_clock(
            "arc",
            trainer,
            data,
            batch,
            clock,
            record,
            seed=seed + 2,
            most_steps=size.most_steps,
            between=between,
        )
    finally:
        record.set(arc={"steps": trainer.step, "batch": batch})
    candidates.hand_in(f"arc, step {trainer.step}", all_values())
    record.set(arc={"steps": trainer.step, "batch": batch, "losses": means})
    record.note(f"ARC: {trainer.step} steps of {batch}, gap {means.get('gap', 0.0):.3f}")
