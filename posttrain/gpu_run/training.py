"""The training of a run: flow matching, ARC, and the choice of the best candidate."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.arc.trainer import ArcTrainer
from arcmobile.posttrain.flow.generator import TrainableGenerator, base_generator
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.gpu_run.clock_training import (
    Clock,
    Trainer,
    falling,
    started,
    train_by_clock,
    wait_for_sounds,
)
from arcmobile.posttrain.gpu_run.judging import Judge, Judgement
from arcmobile.posttrain.gpu_run.resident_data import ResidentLatents
from arcmobile.posttrain.gpu_run.results import ARC, FLOW, RunRecord
from arcmobile.posttrain.gpu_run.settings import RunSize

GUIDANCE = 4.0
_JUDGES = 8
_ARC_LEVEL = 0.5  # of ARC's time at full rate
_ARC_LAST_RATE = 0.2
_FIRST_CANDIDATE = 0.3  # of ARC's time

Values = Mapping[str, Tensor]
_Trainer = TypeVar("_Trainer", bound=Trainer)


@dataclass
class _Candidates:
    """Candidates of ARC: submitted to the judge, and the best so far written."""

    judge: Judge
    record: RunRecord
    generator: TrainableGenerator
    kept: dict[str, dict[str, Tensor]]
    best: Judgement | None = None

    def submit(self, name: str, values: Values) -> None:
        """Submit a candidate; until one has been judged, the last one is written."""
        self.kept[name] = {key: value.detach().cpu().clone() for key, value in values.items()}
        if self.best is None:
            self.write(name, self.kept[name])
        self.judge.submit(name, values)

    def take(self, judgements: list[Judgement]) -> None:
        """Note judgements; write a candidate that is better than all before."""
        for judgement in judgements:
            judged = [*self.record.content.get("judged", []), judgement.record()]
            self.record.set(judged=judged)
            self.record.note(
                f"{judgement.name}: right sound {judgement.shares['class']:.1%}, everything "
                f"{judgement.shares['all']:.1%}, Fréchet {judgement.frechet:.2f}"
            )
            values = self.kept.pop(judgement.name, None)
            if values is not None and (self.best is None or judgement.score > self.best.score):
                self.best = judgement
                self.write(judgement.name, values)

    def write(self, name: str, values: Values) -> None:
        """Write a candidate as the one that is chosen."""
        tensors = self.generator.checkpoint_tensors(values)
        self.record.write_generator(ARC, tensors, candidate=name)
        self.record.set(chosen=name)


@dataclass(frozen=True)
class _Run:
    """What both trainings share."""

    base: CheckpointFolder
    data: ResidentLatents
    size: RunSize
    record: RunRecord
    device: torch.device
    compiled: bool
    seed: int

    def train_flow(self, clock: Clock) -> FlowTrainer:
        settings = self.size.flow

        def make(compiled: bool) -> FlowTrainer:
            return FlowTrainer(
                base_generator(self.base),
                settings,
                device=str(self.device),
                compiled=compiled,
                schedule=falling(clock, last=settings.last_rate, warmup=settings.warmup),
            )

        trainer, batch = self._start(make, settings.batch)
        clock.start()
        means = self._train("flow", trainer, batch, clock, seed=self.seed + 1)
        self.record.set(flow={"steps": trainer.step, "batch": batch, "losses": means})
        self.record.note(
            f"flow matching: {trainer.step} steps of {batch}, loss {means['flow']:.3f}"
        )
        return trainer

    def train_arc(self, values: Values, clock: Clock, candidates: _Candidates) -> None:
        """Start from the flow model's ``values``."""

        def make(compiled: bool) -> ArcTrainer:
            generator = base_generator(self.base)
            with torch.no_grad():
                for name, value in generator.named_parameters():
                    if name in values:
                        value.copy_(values[name])
            return ArcTrainer(
                generator,
                self.size.arc,
                device=str(self.device),
                base=self.base.digest(),
                compiled=compiled,
                schedule=falling(clock, last=_ARC_LAST_RATE, level=_ARC_LEVEL),
            )

        trainer, batch = self._start(make, self.size.arc.batch)
        clock.start()
        count, span = self.size.candidates, 1 - _FIRST_CANDIDATE
        due = [_FIRST_CANDIDATE + span * k / count for k in range(1, count)]

        def submit() -> None:
            # ARC does not train the text encoder: it stays that of the flow model.
            candidates.submit(f"arc, step {trainer.step}", {**values, **trainer.averaged})

        def between(progress: float) -> None:
            if due and progress >= due[0]:
                while due and progress >= due[0]:
                    due.pop(0)
                submit()
            candidates.take(candidates.judge.finished())

        try:
            means = self._train("arc", trainer, batch, clock, seed=self.seed + 2, between=between)
        finally:
            self.record.set(arc={"steps": trainer.step, "batch": batch})
        submit()
        self.record.set(arc={"steps": trainer.step, "batch": batch, "losses": means})
        self.record.note(f"ARC: {trainer.step} steps of {batch}, gap {means.get('gap', 0.0):.3f}")

    def _start(self, make: Callable[[bool], _Trainer], batch: int) -> tuple[_Trainer, int]:
        return started(make, self.data, batch, self.record, compiled=self.compiled, seed=self.seed)

    def _train(
        self,
        name: str,
        trainer: Trainer,
        batch: int,
        clock: Clock,
        *,
        seed: int,
        between: Callable[[float], None] = lambda progress: None,
    ) -> dict[str, float]:
        return train_by_clock(
            name,
            trainer,
            self.data,
            batch,
            clock,
            self.record,
            seed=seed,
            most_steps=self.size.most_steps,
            between=between,
        )


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
    """Train for ``seconds``, judging included; write everything into ``record.out``.

    Args:
        base: the embedded checkpoint, whose generator is trained on.
        latents: folder of the shards, which may still be growing.
        size: of the run.
        record: of the run.
        seconds: to take.
        device: to train on.
        compiled: compile the networks where that works.
        seed: of both trainings.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    if compiled:  # what cannot be compiled runs as it is
        torch._dynamo.config.suppress_errors = True
    whole = Clock.of(seconds)
    data = ResidentLatents(latents, size.sounds, device)
    run = _Run(base, data, size, record, device, compiled, seed)
    workers = min(_JUDGES, max(1, len(os.sched_getaffinity(0)) - 1))
    judge = Judge(base, device, size.held_out, workers)
    try:
        training_seconds = max(2.0, whole.left - size.judge_seconds)
        flow_clock = Clock.of(size.flow_share * training_seconds)
        wait_for_sounds(data, size.fewest_sounds, Clock.of(0.5 * flow_clock.left), record)
        flow = run.train_flow(flow_clock)
        record.write_generator(FLOW, flow.averaged_tensors(), step=flow.step)
        averaged = {name: value.clone() for name, value in flow.averaged.items()}
        judge.submit(
            f"flow, {size.guided_steps} steps, guidance {GUIDANCE:g}",
            averaged,
            steps=size.guided_steps,
            guidance=GUIDANCE,
        )
        judge.submit("flow, 8 steps", averaged, guidance=1.0)
        candidates = _Candidates(judge, record, base_generator(base), {})
        run.train_arc(averaged, Clock(whole.end - size.judge_seconds), candidates)
        candidates.take(judge.wait(max(1.0, whole.left)))
        if candidates.best is None:
            chosen = record.content["chosen"]
            record.note(f"{chosen}: chosen without judgement, which came too late")
    finally:
        judge.close()
