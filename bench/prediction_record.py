"""A prediction as a file: what ``bench predict --json`` prints and ``bench report`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from arcmobile.bench.predict import Prediction
from arcmobile.bench.published import Check
from arcmobile.bench.records import AnyFigure, Duration, Positive, Quantity, Record, read_record


class StageRecord(Record):
    """Seconds of all calls of a stage; see :class:`arcmobile.bench.predict.StageTime`."""

    calls: Quantity
    expected_seconds: Quantity
    optimistic_seconds: Quantity
    product_seconds: Quantity
    elementwise_seconds: Quantity
    bound: Literal["compute", "memory"]
    instructions: dict[str, str]


class CheckRecord(Record):
    """A published figure; ``off`` is (predicted - published) / published."""

    title: str
    off: AnyFigure
    says: str


class PredictionRecord(Record):
    """Seconds of computing, without loading."""

    device: str
    title: str
    threads: Positive
    model: str
    recipe: str
    audio_seconds: Duration
    steps: Positive
    expected_seconds: Quantity
    optimistic_seconds: Quantity
    first_audio_seconds: Quantity
    stages: dict[str, StageRecord]
    assumptions: tuple[str, ...]
    checks: tuple[CheckRecord, ...]

    @classmethod
    def of(
        cls, one: Prediction, assumptions: list[str], checks: tuple[Check, ...]
    ) -> PredictionRecord:
        """Make the record of a prediction, with what it assumes and the published figures."""
        pairs = zip(one.expected.stages, one.optimistic.stages, strict=True)
        return cls(
            device=one.device.name,
            title=one.device.profile.title,
            threads=one.threads,
            model=one.workload.title,
            recipe=one.workload.recipe,
            audio_seconds=one.workload.seconds,
            steps=one.workload.steps,
            expected_seconds=one.expected.seconds,
            optimistic_seconds=one.optimistic.seconds,
            first_audio_seconds=one.expected.first_audio,
            stages={
                stage.name: StageRecord(
                    calls=stage.calls,
                    expected_seconds=stage.seconds,
                    optimistic_seconds=best.seconds,
                    product_seconds=stage.products,
                    elementwise_seconds=stage.elementwise,
                    bound=stage.bound,
                    instructions=dict(stage.by),
                )
                for stage, best in pairs
            },
            assumptions=tuple(assumptions),
            checks=tuple(
                CheckRecord(title=check.point.title, off=check.off, says=check.sentence())
                for check in checks
            ),
        )


_FILE: TypeAdapter[tuple[PredictionRecord, ...]] = TypeAdapter(tuple[PredictionRecord, ...])


def dump(records: list[PredictionRecord]) -> str:
    """Return the JSON text of a list of predictions."""
    return _FILE.dump_json(tuple(records), indent=2).decode()


def read(path: Path) -> tuple[PredictionRecord, ...]:
    """Read the predictions in a file.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    return read_record(
        path,
        _FILE,
        what="the output of `arcmobile bench predict --json`",
        way_out="predict again",
    )
