"""Puts what was measured into the README, so that its figures are those of the results.

python -m benchmarks.readme                                # the table of benchmarks/results.json
python -m benchmarks.readme --scoreboard var/replay        # also the scoreboard of a replay and its plots
python -m benchmarks.readme --backtest var/backtest        # also what a policy backtest found and its plots
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, met

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "pictures"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scoreboard", type=Path, help="folder that a replay wrote its scoreboard into")
    parser.add_argument("--backtest", type=Path, help="folder that a backtest wrote its page into")
    chosen = parser.parse_args(arguments)
    text = README.read_text(encoding="utf-8")
    if RESULTS.exists():
        text = replaced(text, "bench", _results(json.loads(RESULTS.read_text(encoding="utf-8"))))
    if chosen.scoreboard:
        text = replaced(text, "scoreboard", _scoreboard(chosen.scoreboard))
    if chosen.backtest:
        text = replaced(text, "backtest", _backtest(chosen.backtest))
    README.write_text(text, encoding="utf-8")
    return 0


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the comments ``<!-- name -->`` and ``<!-- /name -->``.

    Raises
    ------
    ValueError
        If the text does not hold the two comments once.
    """
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, found = between.subn(lambda match: f"{match[1]}\n{content.strip()}\n\n{match[2]}", text)
    if found != 1:
        raise ValueError(f"the text holds <!-- {name} --> … <!-- /{name} --> {found} times, not once")
    return text


def machine_text(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB, {machine['system']} {machine['architecture']}, "
        f"Python {machine['python']}"
    )


def _results(content: dict[str, Any]) -> str:
    lines = ["| measurement | value | target | |", "|---|---|---|---|"]
    for result in content["results"]:
        verdict = "met" if met(result["value"], result["target"]) else "missed"
        lines.append(
            f"| `{result['name']}` | {result['value']:.3g} {result['unit']} | {result['target']} | {verdict} |"
        )
    how = "How each was measured stands beside it in [`benchmarks/results.json`](benchmarks/results.json)."
    return "\n".join([*lines, "", f"On {machine_text(content['machine'])}, {content['date']}. {how}"])


def _scoreboard(folder: Path) -> str:
    from benchmarks.results import machine

    plots = []
    for plot in sorted(folder.glob("scoreboard_*.png")):
        shutil.copy(plot, PICTURES / plot.name)
        plots.append(
            f"![{plot.stem.removeprefix('scoreboard_').replace('_', ' ')} by month](docs/pictures/{plot.name})"
        )
    text = (folder / "scoreboard.md").read_text(encoding="utf-8")
    return "\n\n".join([text, *plots, f"Seconds on {machine_text(machine())}."])


def _backtest(folder: Path) -> str:
    from benchmarks.results import machine
    from pipelines.backtest_page import summary

    plots = []
    for name, shown in (("gain", "loss saved so far by each policy"), ("faults", "days until a fault is found")):
        picture = folder / f"backtest_{name}.png"
        if picture.exists():
            shutil.copy(picture, PICTURES / picture.name)
            plots.append(f"![{shown}](docs/pictures/{picture.name})")
    found = summary(json.loads((folder / "backtest.json").read_text(encoding="utf-8")))
    return "\n\n".join([found, *plots, f"CPU seconds on {machine_text(machine())}."])


if __name__ == "__main__":
    sys.exit(main())
