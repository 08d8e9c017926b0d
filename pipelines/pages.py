"""What figures, tables and pictures look like in the documents and pages of measurements.

What belongs here: their form. What is measured, and what is said of it, is in ``scoreboard.py``, ``backtest_page.py``
and ``backtest_claims.py``.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence

STYLE = (
    "body{font:15px/1.5 system-ui;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0;font-size:13px}td,th{border:1px solid #ccc;padding:3px 8px}"
    "img{max-width:100%;display:block;margin:1rem 0}h2{margin-top:2.2rem}"
)


def html_page(title: str, body: str) -> str:
    """A page.

    Parameters
    ----------
    title : as plain text. body : in HTML.
    """
    title = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    )


def short(text: str, length: int = 140) -> str:
    """A text cut to a length."""
    return text if len(text) <= length else text[: length - 1] + "…"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def html_block(block: str) -> str:
    """A paragraph or table of Markdown in HTML."""
    if not block.startswith("|"):
        return f"<p>{html.escape(block)}</p>"
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in block.split("\n")]
    cells = [
        [html.escape(cell.strip().replace("\\|", "|")) for cell in line]
        for line in lines
        if not set("".join(line)) <= {"-"}
    ]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in cells[1:])
    return f"<table><tr>{head}</tr>{rows}</table>"


def number(value: float | None, digits: int) -> str:
    """A number with so many digits; nothing where there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share in percent; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}%}"


def with_interval(value: float | None, interval: Sequence[float] | None, digits: int) -> str:
    """A number with its interval."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text if interval is None else f"{text} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def percent_interval(value: float | None, interval: Sequence[float] | None, digits: int = 0) -> str:
    """A share in percent with its interval."""
    if value is None:
        return ""
    text = f"{value:.{digits}%}"
    return text if interval is None else f"{text} ({interval[0]:.{digits}%} to {interval[1]:.{digits}%})"


def picture(name: str, png: bytes) -> str:
    """A picture that is part of the page itself."""
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
