"""An evaluation as a page of Markdown: what was measured, how to read it, and the figures."""

from __future__ import annotations

from collections.abc import Sequence

from arcmobile.posttrain.judgement.adherence import MEASURES, Tally
from arcmobile.posttrain.judgement.evaluation import Evaluation, RowResult

_SOUNDS = """
## A few of the sounds

![Spectrograms of drawn and made sounds](sounds.png)
"""
_HEADINGS = {"class": "right sound", "all": "everything right"}


def percent(tally: Tally) -> str:
    """ "97 % (94–99)", the interval at 95 %."""
    if not tally.count:
        return "–"
    low, high = tally.interval
    return f"{100 * tally.share:.0f} % ({100 * low:.0f}–{100 * high:.0f})"


def diversity_text(result: RowResult) -> str:
    """ "0.61 ± 0.03", with the standard error."""
    if result.diversity is None:
        return "–"
    return f"{result.diversity.value:.2f} ± {result.diversity.error:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(result: RowResult) -> str:
    return f"*{result.row.name}*" if result.row.ceiling else result.row.name


def adherence_table(results: Sequence[RowResult]) -> str:
    """Shares right with 95 % intervals, a row per row."""
    header = ["", *(_HEADINGS.get(measure, measure) for measure in MEASURES)]
    rows = [
        [_name(result), *(percent(result.adherence[measure]) for measure in MEASURES)]
        for result in results
    ]
    return _table(header, rows)


def likeness_table(results: Sequence[RowResult]) -> str:
    """Distance, diversity and time."""
    rows = [
        [_name(r), f"{r.frechet:.2f}", diversity_text(r), f"{r.seconds:.0f} s"] for r in results
    ]
    return _table(["", "Frechet distance", "diversity", "time"], rows)


def evaluation_text(evaluation: Evaluation, results: Sequence[RowResult]) -> str:
    """The whole page."""
    classes = {prompt.attributes.sound for prompt in evaluation.prompts}
    how = "\n".join(f"- {_name(result)}: {result.row.how}" for result in results)
    confusions = "\n".join(
        f"- {_name(result)}: {', '.join(_confusions(result))}" for result in results
    )
    return f"""# Evaluation

{len(evaluation.prompts)} held-out captions of {len(classes)} classes of sounds, seed \
{evaluation.seed}. Rows in italics
are made from real (drawn) sounds: the best that a figure can be. All figures are in
`results.json`; `index.html` lets you hear examples.

{how}

## Does it sound like what was asked for

Share right, with 95 % intervals (Wilson). The class is named by a small classifier; words are
heard by rules, and count only where the caption states them.

{adherence_table(results)}

![Adherence](adherence.png)

Most often taken for another sound:

{confusions}

![Sounds recognised, by class](classes.png)

## Does it sound like the real ones, and does it vary

Frechet distance to the captions' own drawn sounds, on 37 documented features (lower is closer;
*drawn again* is the distance that chance alone gives). Diversity: mean distance between two seeds
of one caption, in standard deviations of drawn sounds; *drawn again* shows what the words leave
open. Time is that of this machine, for all sounds, loading included.

{likeness_table(results)}

![Likeness and diversity](likeness.png)
{_SOUNDS if evaluation.examples else ""}"""


def _confusions(result: RowResult) -> list[str]:
    found = [
        f"{pair['asked']} → {pair['heard']} ({pair['times']})"
        for pair in result.record()["confusions"]
    ]
    return found or ["none"]
