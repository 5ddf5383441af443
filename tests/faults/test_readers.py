"""Every reader of something from outside accepts a broken input or refuses it in one line."""

from __future__ import annotations

import pytest

from faults.attempts import Summary, run_cases
from faults.readers import all_readers

READERS = {name: reader for name, reader in all_readers().items() if reader.cases}


def shown(summary: Summary) -> str:
    lines = [f"case {fault.case}: {fault.kind}: {fault.said}" for fault in summary.faults[:10]]
    return "\n".join([str(dict(summary.counts)), *lines])


@pytest.mark.parametrize("name", READERS)
@pytest.mark.usefixtures("shared_inputs")
def test_broken_inputs(name: str) -> None:
    summary = run_cases(name, 0, READERS[name].cases)
    assert not summary.faults, shown(summary)
    # Mutations that nothing notices, or that all break the same outermost thing, test nothing.
    assert summary.counts["refused"] > 0, shown(summary)
