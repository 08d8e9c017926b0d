"""The page of the catalogue of features: HTML that needs no network, and JSON beside it.

What belongs here: how entries look and where they are written. What they say is made by ``lifecycle/catalogue.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from html import escape
from pathlib import Path
from typing import Any

from lifecycle.catalogue import Catalogue, Distribution, Entry, Use

BAR_WIDTH, BAR_HEIGHT = 6, 30
MOST_USERS = 4  # named on the page; the JSON has them all

STYLE = """
:root { --ink: #22262b; --soft: #69717c; --line: #e2e5ea; --ground: #fff; --head: #f6f7f9; --main: #0072b2;
  --good: #009e73; --bad: #b2182b; --warn: #b36b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa3ae; --line: #343a42; --ground: #16191d;
  --head: #1f2328; --main: #56b4e9; --good: #3fc79a; --bad: #ff7b72; --warn: #e69f00; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 28px; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 22px; margin: 0 0 2px; } p { margin: 2px 0 10px; color: var(--soft); max-width: 110ch; }
input { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 10px; width: 320px; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; }
th { position: sticky; top: 0; background: var(--head); text-align: left; font-weight: 600; white-space: nowrap;
  padding: 8px 10px; border-bottom: 2px solid var(--line); cursor: pointer; }
th[aria-sort=ascending]::after { content: " ▲"; } th[aria-sort=descending]::after { content: " ▼"; }
td { padding: 8px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
.name, code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px; }
.name { font-weight: 600; overflow-wrap: anywhere; } .soft { color: var(--soft); font-size: 12.5px; }
.what { min-width: 260px; max-width: 380px; font-size: 12.5px; overflow-wrap: anywhere; }
.first { min-width: 210px; max-width: 270px; } .right { text-align: right; white-space: nowrap; }
.chip { display: inline-block; border: 1px solid var(--line); border-radius: 9px; padding: 0 7px; margin: 2px 3px 0 0;
  font-size: 11.5px; color: var(--soft); white-space: nowrap; }
.champion { color: var(--good); border-color: var(--good); } .challenger { color: var(--main); }
.bad { color: var(--bad); border-color: var(--bad); } .warn { color: var(--warn); border-color: var(--warn); }
.bar { height: 5px; border-radius: 3px; background: var(--line); width: 78px; margin: 4px 0 0 auto; }
.bar i { display: block; height: 100%; border-radius: 3px; background: var(--main); }
svg rect { fill: var(--main); } .ends { display: flex; justify-content: space-between; gap: 8px; width: 144px; }
"""

SCRIPT = """
const body = document.querySelector('tbody');
document.querySelectorAll('th').forEach((head, column) => head.onclick = () => {
  const down = head.getAttribute('aria-sort') === 'ascending';
  document.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = row => row.cells[column].dataset.by;
  const order = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === '' || b === '') return (a === '') - (b === '');
    const by = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return down ? -by : by;
  };
  body.append(...[...body.rows].sort(order));
});
document.querySelector('input').oninput = event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of body.rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
};
"""

COLUMNS = (
    "Feature",
    "What it is",
    "Entity",
    "Source",
    "Age / holds",
    "Present",
    "Distribution",
    "Importance",
    "Owner",
    "Used by",
)


def write_catalogue(catalogue: Catalogue, path: Path) -> Path:
    """Writes the page and the JSON beside it, whole or not at all; returns the page's path.

    What stands there as of a later day stays: building an old day again never sets the page back.
    """
    beside = path.with_suffix(".json")
    if _day_of(beside) <= catalogue.day:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, page(catalogue))
        _replace(beside, json.dumps(_document(catalogue), indent=1, default=str))
    return path


def page(catalogue: Catalogue) -> str:
    """The catalogue as one HTML document."""
    largest = max((entry.importance or 0.0 for entry in catalogue.entries), default=0.0)
    heads = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "\n".join(_row(entry, largest) for entry in catalogue.entries)
    serves = f"Version {catalogue.champion} serves" if catalogue.champion else "No version serves yet"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Features of {escape(catalogue.pipeline)}</title><style>{STYLE}</style></head><body>
<h1>Features of {escape(catalogue.pipeline)}</h1>
<p>{escape(catalogue.description)} {len(catalogue.entries)} features as of the close of {catalogue.day}
({catalogue.close:%Y-%m-%d %H:%M} UTC). {serves}; a model trained now is pinned to the service
<code>{escape(catalogue.service)}</code>. Presence and distribution are of the forecasts of {catalogue.first} to
{catalogue.day}, or of stored rows where no forecast has the feature. Importance is the growth of the champion's loss
when the feature is shuffled. A click on a heading sorts.</p>
<input type="search" placeholder="Find: name, entity, source, owner …" aria-label="Find">
<table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>
{_gone(catalogue)}<script>{SCRIPT}</script></body></html>
"""


def duration_text(span: timedelta | None) -> str:
    """A span of time as people say it, "" where there is none.

    Examples
    --------
    >>> duration_text(timedelta(minutes=90)), duration_text(timedelta(hours=40)), duration_text(timedelta(days=31))
    ('90 min', '40 h', '31 d')
    """
    if span is None:
        return ""
    minutes = span.total_seconds() / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} d"


def _row(entry: Entry, largest: float) -> str:
    definition = entry.definition
    chips = [_chip("retired", "warn")] if entry.retired else []
    chips += [_chip(definition.kind), _chip(definition.type)]
    made = f"<br>made from {escape(', '.join(definition.uses))}" if definition.uses else ""
    entity = " × ".join(definition.entity)
    cells = [
        _cell(
            entry.name,
            f'<div class="name">{escape(entry.name)}</div><div class="soft">{escape(entry.description)}</div>'
            + "".join(chips),
            "first",
        ),
        _cell(
            definition.text,
            f'{escape(definition.text)}<div class="soft"><code>{definition.fingerprint}</code>{made}</div>',
            "what",
        ),
        _cell(entity, escape(entity) or '<span class="soft">–</span>'),
        _cell(definition.source, f'{escape(definition.source)}<div class="soft">{escape(entry.view)}</div>'),
        _cell(entry.age.total_seconds() if entry.age is not None else "", _age(entry), "right"),
        _cell(_sortable(entry.coverage), _coverage(entry), "right"),
        _cell(len(entry.distribution.counts), _picture(entry.distribution)),
        _cell(_sortable(entry.importance), _importance(entry.importance, largest), "right"),
        _cell(entry.owner, escape(entry.owner)),
        _cell(len(entry.used_by), _users(entry.used_by)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(by: object, content: str, kind: str = "") -> str:
    """``by`` is what the column is sorted by."""
    return f'<td class="{kind}" data-by="{escape(str(by))}">{content}</td>'


def _chip(text: str, kind: str = "") -> str:
    return f'<span class="chip {kind}">{escape(text)}</span>'


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.9f}"


def _age(entry: Entry) -> str:
    if entry.age is None:
        return '<span class="soft">when asked</span>' if not entry.view else '<span class="bad">no rows</span>'
    kind = "bad" if entry.stale else ""
    holds = f"holds {duration_text(entry.ttl)}" if entry.ttl else "holds for good" if entry.view else "its oldest part"
    return f'<span class="{kind}">{duration_text(entry.age)}</span><div class="soft">{holds}</div>'


def _coverage(entry: Entry) -> str:
    if entry.coverage is None:
        return '<span class="soft">no rows</span>'
    # Rounded down: what is not quite complete must not look it.
    share = int(entry.coverage * 1000) / 10
    return f'{share:.1f} %{_bar(entry.coverage)}<div class="soft">of {entry.rows:,}</div>'


def _importance(value: float | None, largest: float) -> str:
    if value is None:
        return '<span class="soft">–</span>'
    return f"{value:.4g}{_bar(max(value, 0.0) / largest if largest > 0 else 0.0)}"


def _bar(share: float) -> str:
    return f'<div class="bar"><i style="width:{share:.1%}"></i></div>'


def _picture(shape: Distribution) -> str:
    """Bars of the counts, as SVG; the tallest fills the height."""
    if not shape.counts:
        return '<span class="soft">no values</span>'
    tallest = max(shape.counts)
    heights = [max(round(BAR_HEIGHT * count / tallest, 1), 0.8 if count else 0) for count in shape.counts]
    step = BAR_WIDTH if shape.numeric else 2 * BAR_WIDTH
    bars = "".join(
        f'<rect x="{place * step}" y="{BAR_HEIGHT - height:.1f}" width="{step - 1}" height="{height}">'
        f"<title>{escape(_named(shape, place))}{count:,}</title></rect>"
        for place, (height, count) in enumerate(zip(heights, shape.counts, strict=True))
    )
    picture = f'<svg width="{step * len(heights)}" height="{BAR_HEIGHT}" role="img">{bars}</svg>'
    if shape.numeric:
        low, high = shape.labels
        ends = f'<div class="soft ends"><span>{low}</span><span>{high}</span></div>'
        return picture + (ends if low != high else f'<div class="soft">{low}</div>')
    return (
        f'{picture}<div class="soft">{escape(", ".join(shape.labels[:4]))}{"…" if len(shape.labels) > 4 else ""}</div>'
    )


def _named(shape: Distribution, place: int) -> str:
    return "" if shape.numeric else f"{shape.labels[place]}: "


def _users(users: Sequence[Use]) -> str:
    if not users:
        return '<span class="soft">nobody</span>'
    # Who serves comes first, then the newest.
    ordered = sorted(users, key=lambda use: (use.role != "champion", not use.role, -use.version))
    chips = [_chip(str(use), "warn" if use.same is False else use.role) for use in ordered[:MOST_USERS]]
    more = len(users) - MOST_USERS
    return "<br>".join(chips) + (f'<div class="soft">and {more} more</div>' if more > 0 else "")


def _gone(catalogue: Catalogue) -> str:
    if not catalogue.gone:
        return ""
    lines = "".join(
        f"<li><span class='name'>{escape(name)}</span> {_users(users).replace('<br>', ' ')}</li>"
        for name, users in catalogue.gone.items()
    )
    return f"<h2>Not declared any more, but taken by registered versions</h2><ul>{lines}</ul>\n"


def _document(catalogue: Catalogue) -> dict[str, Any]:
    """The catalogue for machines: seconds for spans of time, ISO 8601 for moments."""
    found = asdict(catalogue)
    for entry, made in zip(catalogue.entries, found["entries"], strict=True):
        for name in ("age", "ttl"):
            span = made.pop(name)
            made[f"{name}_seconds"] = None if span is None else span.total_seconds()
        made["newest"] = entry.newest.isoformat() if entry.newest else None
        made["stale"] = entry.stale
    found["close"] = catalogue.close.isoformat()
    return found


def _day_of(path: Path) -> date:
    return date.fromisoformat(json.loads(path.read_text())["day"]) if path.exists() else date.min


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
