"""Tables of measurements in Markdown and HTML."""

from __future__ import annotations

from pipelines.pages import html_block, percent_interval, table


def test_a_bar_in_a_cell_stays_in_its_cell() -> None:
    text = table(["cause", "rows"], [["this | that <b>", "2"]])
    assert text.count("\n") == 2
    assert html_block(text).count("<td>") == 2
    assert "<td>this | that &lt;b&gt;</td><td>2</td>" in html_block(text)


def test_what_is_not_known_is_left_blank() -> None:
    assert percent_interval(None, None) == ""
    assert percent_interval(0.5, (0.25, 0.75)) == "50% (25% to 75%)"
