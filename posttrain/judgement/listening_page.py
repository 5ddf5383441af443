"""A page to listen to: a section per prompt, a card per row, each with its spectrogram.

The folder holds everything that the page shows: no script, no font, no picture from elsewhere.
Sounds are FLAC, which every browser of today plays.
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

_STYLE = """
:root { --paper: #f6f6f3; --card: #fff; --ink: #1b1c1f; --soft: #62646b; --line: #e3e3dd;
  --accent: #3568b8; --wrong: #a8440a; --track: #efefea; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper: #131416; --card: #1c1e21; --ink: #ebecee;
  --soft: #a0a3ab; --line: #2f3237; --accent: #6f9fe8; --wrong: #f08c4f; --track: #282b30; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.015em; margin: 0; }
.lead { color: var(--soft); max-width: 46em; margin: 8px 0 28px; }
h2 { font-size: 20px; line-height: 1.3; letter-spacing: -.01em; margin: 44px 0 2px; }
.asked { color: var(--soft); font-size: 13.5px; margin: 0 0 14px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(235px, 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  overflow: hidden; display: flex; flex-direction: column; }
figure.real { border-style: dashed; }
figure img { display: block; width: 100%; height: 92px; background: #000004; }
figcaption { padding: 10px 14px 4px; flex: 1; }
figcaption b { display: block; font-weight: 620; }
figcaption span { color: var(--soft); font-size: 13px; }
figcaption .wrong { color: var(--wrong); }
audio { display: block; width: calc(100% - 16px); height: 36px; margin: 4px 8px 10px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 8px 14px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; }
tbody tr { border-top: 1px solid var(--line); }
td.bar { background: linear-gradient(var(--track) 0 0) 0 0 / var(--share) 100% no-repeat; }
tr.real td:first-child { font-style: italic; }
footer { color: var(--soft); font-size: 13px; margin-top: 44px; }
"""


def write_page(folder: Path, evaluation: Evaluation, results: Sequence[RowResult]) -> None:
    """Writes index.html and its sounds and pictures; raises OutputError where it cannot."""
    sections = []
    for index, place in enumerate(evaluation.examples):
        prompt = evaluation.prompts[place]
        cards = [_card(folder, index, "drawn", evaluation.drawn_examples[index], prompt, None)]
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
    asked = verdict.prompt.attributes.sound
    parts = []
    if verdict.heard != asked:
        parts.append(f"heard as {verdict.heard or 'silence'}")
    if wrong:
        parts.append(f"{', '.join(wrong)} not as asked")
    if not parts:
        return "<span>as asked</span>"
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
<p class="lead">The same captions, in every row the same noise. Dashed cards are made from real
(procedurally drawn) sounds. Figures are over all {len(evaluation.prompts)} captions, with 95 %
intervals; Frechet distance: lower is closer to drawn sounds.</p>
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
<thead><tr><th></th><th>right sound</th><th>everything right</th><th>Frechet distance</th>
<th>diversity</th></tr></thead>
<tbody>
{chr(10).join(lines)}
</tbody></table></div>"""


def write_thumbnail(path: Path, audio: Audio) -> None:
    """The spectrogram of (2, samples) as a small picture."""
    with whole_file(path, overwrite=True) as unfinished:
        imsave(unfinished, colormaps["magma"](spectrogram(audio)), format="png")
