"""Predictions compared with published measurements: by how much they differ, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final

from pydantic import Field

from arcmobile.bench.device_profiles import load_profile
from arcmobile.bench.predict import Prediction, predict
from arcmobile.bench.records import Record, packaged_toml
from arcmobile.bench.workload import mixed_workload

_MODEL: Final = "sao-small"
_ABOUT_RIGHT: Final = 0.05


class Point(Record):
    """A published time of one generation of the whole duration; see ``bench/published.toml``."""

    title: str
    year: int
    device: str
    threads: int = Field(ge=1)
    steps: int = Field(ge=1)
    seconds: float = Field(gt=0)
    recipes: dict[str, str]  # by stage
    own: bool = False  # measured by this project, with the default windows
    source: str
    reading: str  # what the source leaves open, and how we read it


@dataclass(frozen=True)
class Check:
    """A point and what is predicted for it."""

    point: Point
    prediction: Prediction

    @property
    def off(self) -> float:
        """(expected - published) / published."""
        return self.prediction.expected.seconds / self.point.seconds - 1

    @property
    def factor(self) -> float:
        """Ratio of prediction and measurement, the larger over the smaller: 1 or more."""
        ratio = self.prediction.expected.seconds / self.point.seconds
        return max(ratio, 1 / ratio)

    def sentence(self) -> str:
        """Return, e.g., ``predicted 5.9 s (3.6 at best), measured 7 s: 16 % low``."""
        expected, best = self.prediction.expected.seconds, self.prediction.optimistic.seconds
        verdict = f"{abs(self.off):.0%}".replace("%", " %") + (" high" if self.off > 0 else " low")
        if abs(self.off) < _ABOUT_RIGHT:
            verdict = "about right"
        return (
            f"predicted {expected:.1f} s ({best:.1f} at best), "
            f"measured {self.point.seconds:g} s: {verdict}"
        )


def published_points() -> tuple[Point, ...]:
    """Return the points of ``bench/published.toml``."""
    return tuple(Point.model_validate(point) for point in packaged_toml("published")["points"])


def check_published() -> tuple[Check, ...]:
    """Return every published point with its prediction."""
    checks = []
    for point in published_points():
        workload = mixed_workload(_MODEL, point.recipes, point.steps, whole_decode=not point.own)
        prediction = predict(workload, load_profile(point.device), point.threads)
        checks.append(Check(point, prediction))
    return tuple(checks)


def summary(checks: tuple[Check, ...]) -> str:
    """Return how far to trust a prediction, in a sentence."""
    others = [check.factor for check in checks if not check.point.own]
    return (
        f"Median error {median(others):.1f}x, {max(others):.1f}x at worst: "
        "good for comparing devices and recipes, not for promises."
    )
