"""The page of a diagnosis: HTML that needs no network, and JSON beside it.

What belongs here: how a diagnosis looks and where it is written. What it says is made by ``lifecycle/diagnosis.py``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from lifecycle.diagnosis import (
    NO_DOUBTS,
    Diagnosis,
    doubt_text,
    error_texts,
    moved_rows,
    serving_text,
    slice_rows,
    touched_lines,
)
from resources.catalogue import STYLE

MOST_DOUBTS = 40
_MORE_STYLE = """
h2 { font-size: 16px; margin: 26px 0 6px; } li { margin: 3px 0; max-width: 120ch; overflow-wrap: anywhere; }
img { max-width: 100%; margin: 4px 8px 4px 0; border: 1px solid var(--line); border-radius: 6px; }
a { color: var(--main); } .head { border-left: 4px solid var(--bad); padding-left: 12px; }
"""


def write_diagnosis(diagnosis: Diagnosis, pictures: Mapping[str, bytes], path: Path) -> Path:
    """Writes the page and the JSON beside it; returns the page's path.

    Parameters
    ----------
    pictures : title of each plot, as PNG.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(document(diagnosis), indent=1, default=str))
    path.write_text(page(diagnosis, pictures))
    return path


def page(diagnosis: Diagnosis, pictures: Mapping[str, bytes]) -> str:
    """The diagnosis as one HTML document."""
    title = f"{diagnosis.pipeline}: what is wrong at the close of {diagnosis.day}"
    errors = _list([f"<code>{escape(name)}</code> {escape(text)}" for name, text in error_texts(diagnosis)])
    links = " · ".join(f'<a href="{escape(to)}">{escape(name)}</a>' for name, to in diagnosis.links.items())
    steady = f"{diagnosis.steady} other columns did not drift." if diagnosis.steady else ""
    moved = _table(moved_rows(diagnosis)) if diagnosis.moved else "<p>No column drifted.</p>"
    slices = (
        _table(slice_rows(diagnosis))
        if diagnosis.slices
        else "<p>No group of forecasts is worse than when the champion was judged, as far as labels are known.</p>"
    )
    doubts = [escape(doubt_text(doubt)) for doubt in diagnosis.doubts[:MOST_DOUBTS]] or [NO_DOUBTS]
    touched = [_code(line) for line in touched_lines(diagnosis.radius)] or ["no data is suspected"]
    drawn = "".join(
        f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for name, png in pictures.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{STYLE}{_MORE_STYLE}</style></head><body>
<h1>{escape(title)}</h1><p class="head">{escape(diagnosis.headline)}.</p>
{errors}<p>{links}</p>
<h2>What moved, what does most harm first</h2>{moved}
<p>{steady} Importance is the growth of the champion's loss when the column is shuffled; loss is the estimated change
of the mean loss, harm the part of it that the forecasts do not announce themselves, or what a jump costs.</p>{drawn}
<h2>Groups that became worse</h2>{slices}
<h2>Upstream: failed checks and quarantined rows</h2>{_list(doubts)}
<h2>Touched</h2>{_list(touched)}
<h2>The champion</h2><p>{escape(serving_text(diagnosis.serving))}</p>
<h2>What was decided, and what comes next</h2>{_list([escape(line) for line in diagnosis.decided])}
<p><b>{escape(diagnosis.next)}</b></p>
</body></html>
"""


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis for machines; of what is touched only the sums."""
    radius = diagnosis.radius
    found = {name: value for name, value in vars(diagnosis).items() if name != "radius"}
    found |= {name: [asdict(each) for each in found[name]] for name in ("moved", "slices", "doubts")}
    found["serving"] = asdict(diagnosis.serving) if diagnosis.serving else None
    found["headline"] = diagnosis.headline
    found["touched"] = (
        None
        if radius is None
        else {
            "what": radius.what,
            "partitions": {asset: [str(day) for day in days] for asset, days in radius.partitions.items()},
            "versions": [version.number for version in radius.versions],
            "live": {str(day): version for day, version in radius.live.items()},
        }
    )
    return found


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def _code(line: str) -> str:
    """Text with what stands between backquotes as code."""
    parts = escape(line).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
