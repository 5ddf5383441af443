"""A prediction as a file: what ``bench predict --json`` prints and ``bench report`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from arcmobile.bench.predict import Prediction
from arcmobile.bench.published import Check
from arcmobile.runtime.errors import InputError

_NotNegative = Annotated[float, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StageRecord(_Record):
    """Seconds of all calls of a stage; see :class:`arcmobile.bench.predict.StageTime`."""

    calls: _NotNegative
    expected_seconds: _NotNegative
    optimistic_seconds: _NotNegative
    product_seconds: _NotNegative
    elementwise_seconds: _NotNegative
    bound: Literal["compute", "memory"]
    instructions: dict[str, str]


class CheckRecord(_Record):
    """A published figure; ``off`` is (predicted - published) / published."""

    title: str
    off: float
    says: str


class PredictionRecord(_Record):
    """Seconds of computing, without loading."""

    device: str
    title: str
    threads: int = Field(ge=1)
    model: str
    recipe: str
    audio_seconds: float = Field(gt=0)
    steps: int = Field(ge=1)
    expected_seconds: _NotNegative
    optimistic_seconds: _NotNegative
    first_audio_seconds: _NotNegative
    stages: dict[str, StageRecord]
    assumptions: tuple[str, ...]
    checks: tuple[CheckRecord, ...]

    @classmethod
    def of(
        cls, one: Prediction, assumptions: list[str], checks: tuple[Check, ...]
    ) -> PredictionRecord:
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
    """JSON text of a list of predictions."""
    return _FILE.dump_json(tuple(records), indent=2).decode()


def read(path: Path) -> tuple[PredictionRecord, ...]:
    """The predictions in a file; :class:`InputError` if it holds none."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: not the output of `arcmobile bench predict --json` ({where}: "
            f"{first['msg']}); predict again"
        ) from error
