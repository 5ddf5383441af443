"""`make faults`: many cases of every reader, and a table of what they came to."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from faults.attempts import ACCEPTED, FAULTS, REFUSED, Summary, run_cases
from faults.inputs import SHARED
from faults.readers import all_readers

_COLUMNS = (ACCEPTED, REFUSED, *FAULTS)


def main() -> int:
    readers = all_readers()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="cases of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--inputs", type=Path, help="keep the good inputs in this folder")
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(readers))
    options = parser.parse_args()
    if unknown := sorted(set(options.readers) - set(readers)):
        parser.error(f"no reader {unknown[0]}; known: {', '.join(readers)}")
    with tempfile.TemporaryDirectory(prefix="faults-inputs-") as scratch:
        folder = options.inputs or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[SHARED] = str(folder.resolve())
        print(f"{'reader':22}{'cases':>8}", *(f"{column:>14}" for column in _COLUMNS), "  slowest")
        summaries = []
        for name in options.readers or readers:
            summaries.append(run_cases(name, options.first, options.count))
            _print_row(summaries[-1])
    for summary in summaries:
        _print_faults(summary)
    return int(any(summary.faults for summary in summaries))


def _print_row(summary: Summary) -> None:
    counts = (f"{summary.counts[column]:>14}" for column in _COLUMNS)
    slowest = f"{summary.slowest.seconds:8.2f} s (case {summary.slowest.case})"
    print(f"{summary.reader:22}{summary.cases:>8}", *counts, slowest, flush=True)


def _print_faults(summary: Summary) -> None:
    """The first faults of a reader that say something new."""
    seen: set[tuple[str, str]] = set()
    for fault in summary.faults:
        key = (fault.kind, fault.said[:40])
        if key not in seen and len(seen) < 20:
            seen.add(key)
            print(f"{summary.reader} case {fault.case}: {fault.kind}: {fault.said[:300]}")


if __name__ == "__main__":
    sys.exit(main())
