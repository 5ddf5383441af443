"""An evaluation as a Markdown page: what was measured, how to read it, and the figures."""

from __future__ import annotations

from collections.abc import Sequence

from arcmobile.posttrain.judgement.adherence import MEASURES, Tally
from arcmobile.posttrain.judgement.evaluation import Evaluation, RowResult

_SOUNDS = """
## A few of the sounds

![Spectrograms of synthesized and generated sounds](sounds.png)
"""
_HEADINGS = {"class": "right sound", "all": "everything right"}


def percent(tally: Tally) -> str:
    """Format a share with its 95 % interval: "97 % (94–99)"."""
    if not tally.count:
        return "–"
    low, high = tally.interval
    return f"{100 * tally.share:.0f} % ({100 * low:.0f}–{100 * high:.0f})"


def diversity_text(result: RowResult) -> str:
    """Format diversity with its standard error: "0.61 ± 0.03"."""
    if result.diversity is None:
        return "–"
    return f"{result.diversity.value:.2f} ± {result.diversity.error:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(result: RowResult) -> str:
    return f"*{result.row.name}*" if result.row.ceiling else result.row.name


def adherence_table(results: Sequence[RowResult]) -> str:
    """Return a table of shares right with 95 % intervals."""
    header = ["", *(_HEADINGS.get(measure, measure) for measure in MEASURES)]
    rows = [
        [_name(result), *(percent(result.adherence[measure]) for measure in MEASURES)]
        for result in results
    ]
    return _table(header, rows)


def similarity_table(results: Sequence[RowResult]) -> str:
    """Return a table of distance, diversity and time."""
    rows = [
        [_name(r), f"{r.frechet:.2f}", diversity_text(r), f"{r.seconds:.0f} s"] for r in results
    ]
    return _table(["", "Fréchet distance", "diversity", "time"], rows)


def evaluation_text(evaluation: Evaluation, results: Sequence[RowResult]) -> str:
    """Return the whole page."""
    classes = {prompt.attributes.sound for prompt in evaluation.prompts}
    how = "\n".join(f"- {_name(result)}: {result.row.how}" for result in results)
    confusions = "\n".join(
        f"- {_name(result)}: {', '.join(_confusions(result))}" for result in results
    )
    return f"""# Evaluation

{len(evaluation.prompts)} held-out captions of {len(classes)} classes of sounds, seed \
{evaluation.seed}. Rows in italics
are made from synthesized sounds and show the best possible figures. All figures are in
`results.json`; `index.html` has examples to listen to.

{how}

## Adherence: is it the sound asked for

Share right, with 95 % intervals (Wilson). A small classifier finds the class; words are measured by
rules, and count only where the caption states them.

{adherence_table(results)}

![Adherence](adherence.png)

Most frequent confusions:

{confusions}

![Sounds recognised, by class](classes.png)

## Similarity and diversity

Fréchet distance to the captions' own synthesized sounds, on 37 documented features (lower is
closer; *resynthesized* is the distance that chance alone gives). Diversity: mean distance between
two seeds of one caption, in standard deviations of synthesized sounds; *resynthesized* shows what
the words leave open. Time is that of this machine, for all sounds, loading included.

{similarity_table(results)}

![Similarity and diversity](similarity.png)
{_SOUNDS if evaluation.examples else ""}"""


def _confusions(result: RowResult) -> list[str]:
    found = [
        f"{pair['expected']} → {pair['heard']} ({pair['times']})"
        for pair in result.record()["confusions"]
    ]
    return found or ["none"]
