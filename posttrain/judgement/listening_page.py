"""A page to listen to: a section per prompt, a card per row, each with its spectrogram.

The folder holds everything that the page shows: no script, no font, no external image. Sounds are
FLAC, which all current browsers play.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.image import imsave

from arcmobile.posttrain.judgement.adherence import Verdict
from arcmobile.posttrain.judgement.evaluation import Evaluation, RowResult
from arcmobile.posttrain.judgement.evaluation_tables import diversity_text, percent
from arcmobile.posttrain.judgement.held_out_prompts import Prompt
from arcmobile.posttrain.judgement.spectrogram import BANDS, COLUMNS, spectrogram
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.runtime.audio import write_audio
from arcmobile.runtime.whole_output import whole_file, write_whole_text

PAGE = "index.html"
_SOUNDS = "sounds"

Audio = npt.NDArray[np.float32]

_STYLE = Path(__file__).with_name("listening_page.css").read_text(encoding="utf-8")


def write_page(folder: Path, evaluation: Evaluation, results: Sequence[RowResult]) -> None:
    """Write index.html with its sounds and images; raise OutputError if that fails."""
    sections = []
    for index, place in enumerate(evaluation.examples):
        prompt = evaluation.prompts[place]
        cards = [
            _card(folder, index, "synthesized", evaluation.reference_examples[index], prompt, None)
        ]
        cards += [
            _card(folder, index, r.row.name, r.examples[index], prompt, r.verdicts[place], r)
            for r in results
        ]
        sections.append(_section(prompt, cards))
    write_whole_text(folder / PAGE, _document(evaluation, results, sections), overwrite=True)


def _card(
    folder: Path,
    index: int,
    name: str,
    audio: Audio,
    prompt: Prompt,
    verdict: Verdict | None,
    result: RowResult | None = None,
) -> str:
    stem = f"{_SOUNDS}/{index:02d}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    sound, picture = folder / f"{stem}.flac", folder / f"{stem}.png"
    write_audio(sound, audio, MODEL_SAMPLE_RATE, overwrite=True, comment=prompt.caption)
    write_thumbnail(picture, audio)
    real = " class=real" if result is None or result.row.ceiling else ""
    real_note = "<span>the sound that the caption describes</span>"
    note = real_note if verdict is None else _verdict(verdict)
    return f"""<figure{real}>
<img src="{stem}.png" alt="spectrogram" width="{COLUMNS}" height="{BANDS}" loading="lazy">
<figcaption><b>{escape(name)}</b>{note}</figcaption>
<audio controls preload="none" src="{stem}.flac"></audio>
</figure>"""


def _verdict(verdict: Verdict) -> str:
    wrong = [kind for kind, right in verdict.words.items() if not right]
    expected = verdict.prompt.attributes.sound
    parts = []
    if verdict.heard != expected:
        parts.append(f"heard as {verdict.heard or 'silence'}")
    if wrong:
        parts.append(f"{', '.join(wrong)} wrong")
    if not parts:
        return "<span>all right</span>"
    return f'<span class="wrong">{escape("; ".join(parts))}</span>'


def _section(prompt: Prompt, cards: Sequence[str]) -> str:
    return f"""<section>
<h2>“{escape(prompt.caption)}”</h2>
<p class="asked">{escape(prompt.attributes.sound)}, {prompt.seconds:.1f} s</p>
<div class="cards">
{chr(10).join(cards)}
</div>
</section>"""


def _document(evaluation: Evaluation, results: Sequence[RowResult], sections: Sequence[str]) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ARC Mobile: what it makes of held-out captions</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>What it makes of held-out captions</h1>
<p class="lead">The same captions and the same noise in every row. Dashed cards are made from
synthesized sounds. Figures are over all {len(evaluation.prompts)} captions, with 95 %
intervals; Fréchet distance: lower is closer to synthesized sounds.</p>
{_summary(results)}
{chr(10).join(sections)}
<footer>Seed {evaluation.seed}. Everything measured is in results.json; README.md says how to read
it.</footer>
</main>
</body>
</html>
"""


def _summary(results: Sequence[RowResult]) -> str:
    lines = []
    for result in results:
        sound, everything = (result.adherence[measure] for measure in ("class", "all"))
        cells = "".join(
            f'<td class="bar" style="--share: {100 * tally.share:.0f}%">{percent(tally)}</td>'
            for tally in (sound, everything)
        )
        lines.append(
            f"<tr{' class=real' if result.row.ceiling else ''}>"
            f'<td title="{escape(result.row.how)}">{escape(result.row.name)}</td>{cells}'
            f"<td>{result.frechet:.2f}</td><td>{diversity_text(result)}</td></tr>"
        )
    return f"""<div class="scroll"><table>
<thead><tr><th></th><th>right sound</th><th>everything right</th><th>Fréchet distance</th>
<th>diversity</th></tr></thead>
<tbody>
{chr(10).join(lines)}
</tbody></table></div>"""


def write_thumbnail(path: Path, audio: Audio) -> None:
    """Write the spectrogram of (2, samples) as a small image."""
    with whole_file(path, overwrite=True) as unfinished:
        imsave(unfinished, colormaps["magma"](spectrogram(audio)), format="png")
