"""Pictures from small frames, in Altair: each function takes what `popsim.report.summaries` gives, and a width."""

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from popsim.report.style import DASHES, FAINT, INK, MUTED, PALETTE, SHAPES, SINGLE, finish

_LINES = "split(datum.label, '\\n')"
_ROW = 78
_LABEL, _BASE, _TALLEST = 0.11, 0.70, 0.46
_RATIOS = (0.05, 20.0)
"""Ratios of spread are drawn as if they were no further from 1."""
_MARKS = {"simulated": 0.79, "human": 0.91}
"""Inside a row of `ridges`, from its top: the label, the bars' base, their height, and the means below them."""


def ridges(bins: pd.DataFrame, marks: pd.DataFrame, title: str, words: str, width: int) -> alt.LayerChart:
    """Draw distributions under each other, one row each, with means and their intervals below the bars.

    Args:
        bins: ``row, low, high, share``.
        marks: ``row, arm, who, mean, low, high, text``, rows in their order; who is ``simulated`` (a dot, whose
            text stands above the row) or ``human`` (a diamond).
        title: Of the axis.
        words: What is to be seen, for those who cannot see it.
        width: In pixels.
    """
    rows = list(dict.fromkeys(marks["row"].astype(str)))
    place = {row: float(number) for number, row in enumerate(rows)}
    tallest = bins["share"].max() or 1.0
    at = bins["row"].map(place)
    arm_of = dict(zip(marks["row"].astype(str), marks["arm"].astype(str), strict=True))
    drawn = bins.assign(
        base=at + _BASE, top=at + _BASE - _TALLEST * bins["share"] / tallest, arm=bins["row"].map(arm_of)
    )
    under = marks.assign(y=marks["row"].astype(str).map(place) + marks["who"].map(_MARKS))
    above = marks[marks["who"].eq("simulated")]
    above = above.assign(y=above["row"].astype(str).map(place) + _LABEL)
    ends = [drawn["low"].min(), drawn["high"].max(), under["low"].min(), under["high"].max()]
    low, high = np.nanmin(ends), np.nanmax(ends)
    x = alt.X("low:Q", title=_folded(title, width), scale=alt.Scale(domain=[low, high], nice=False, zero=False))
    x = x.axis(grid=True, tickCount=6, tickMinStep=float((bins["high"] - bins["low"]).min()))
    y_scale = alt.Scale(domain=[len(rows), 0], nice=False)
    colour = alt.Color("arm:N", scale=_cycled(PALETTE, list(dict.fromkeys(arm_of.values()))), legend=None)
    y_axis: dict[str, Any] = {"axis": None, "scale": y_scale}
    layers: list[alt.Chart] = [
        alt.Chart(drawn)
        .mark_rect(opacity=0.75)
        .encode(x=x, x2="high:Q", y=alt.Y("base:Q", **y_axis), y2="top:Q", color=colour),
        alt.Chart(under).mark_rule(strokeWidth=2, color=INK).encode(x="low:Q", x2="high:Q", y=alt.Y("y:Q", **y_axis)),
        alt.Chart(above.assign(x=low))
        .mark_text(align="left", baseline="middle", fontSize=12)
        .encode(x="x:Q", y=alt.Y("y:Q", **y_axis), text="text:N"),
    ]
    for who, shape, filled in (("simulated", "circle", True), ("human", "diamond", False)):
        here = under[under["who"].eq(who)]
        point = alt.Chart(here).mark_point(shape=shape, size=45, filled=filled, strokeWidth=2, opacity=1, color=INK)
        layers.append(point.encode(x="mean:Q", y=alt.Y("y:Q", **y_axis)))
    return finish(alt.layer(*layers), width, _ROW * len(rows) + 44, words)


def options(shares: pd.DataFrame, words: str, width: int) -> alt.LayerChart:
    """Draw the share of each option as bars with intervals, side by side for each row.

    Args:
        shares: ``row, option, share, low, high``.
        words: What is to be seen.
        width: In pixels.
    """
    shares = shares.assign(option=[_wrapped(one, 0.42 * width) for one in shares["option"]])
    rows, names = list(dict.fromkeys(shares["row"])), list(dict.fromkeys(shares["option"]))
    tallest = max(name.count("\n") + 1 for name in names)
    y = alt.Y("option:N", sort=names, title=None, axis=_names(names, width))
    offset = alt.YOffset("row:N", sort=rows)
    colour = _colour("row", rows, width)
    x = alt.X("share:Q", title="share of answers", axis=alt.Axis(format="%", tickCount=5))
    base = alt.Chart(shares).encode(y=y, yOffset=offset)
    bars = base.mark_bar(opacity=0.75).encode(x=x, color=colour)
    lines = base.mark_rule(strokeWidth=1.5, color=INK).encode(x="low:Q", x2="high:Q")
    return finish(alt.layer(bars, lines), width, max(16 * max(len(rows), 2), 14 * tallest) * len(names) + 80, words)


def dots(frame: pd.DataFrame, groups: Sequence[str], title: str, words: str, width: int) -> alt.LayerChart:
    """Draw means with intervals, a line for each row and a shape and colour for each group.

    Args:
        frame: ``row, group, mean, low, high``.
        groups: The groups in their order.
        title: Of the axis.
        words: What is to be seen.
        width: In pixels.
    """
    frame = frame.assign(row=[_wrapped(one, 0.42 * width) for one in frame["row"]])
    rows, groups = list(dict.fromkeys(frame["row"])), [g for g in groups if g in set(frame["group"])]
    y = alt.Y("row:N", sort=rows, title=None, axis=_names(rows, width))
    base = alt.Chart(frame).encode(y=y, yOffset=alt.YOffset("group:N", sort=groups))
    colour = _colour("group", groups, width)
    shape = alt.Shape("group:N", scale=_cycled(SHAPES, groups), sort=groups, legend=_legend(groups, width))
    x = alt.X("low:Q", title=_folded(title, width), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    intervals = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", color=colour)
    points = base.mark_point(size=55, filled=True, opacity=1).encode(x="mean:Q", color=colour, shape=shape)
    layers: list[alt.Chart] = [intervals, points]
    if frame["low"].min() < 0 < frame["high"].max():
        layers.insert(0, alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color=MUTED).encode(x="x:Q"))
    tallest = max(row.count("\n") + 1 for row in rows)
    return finish(alt.layer(*layers), width, max(20 * max(len(groups), 2), 14 * tallest) * len(rows) + 60, words)


def lines(frame: pd.DataFrame, titles: tuple[str, str], words: str, width: int, form: str = "") -> alt.LayerChart:
    """Draw a line for each group with points and, where the frame has them, intervals.

    Args:
        frame: ``x, group, mean`` and perhaps ``low, high``.
        titles: Of the two axes.
        words: What is to be seen.
        width: In pixels.
        form: How numbers of the vertical axis are written, for example ``%``.
    """
    groups = list(dict.fromkeys(frame["group"]))
    if pd.api.types.is_numeric_dtype(frame["x"]):
        places = sorted(frame["x"].unique())
        x = alt.X("x:Q", title=titles[0], axis=alt.Axis(values=places, format=".6~g"), scale=alt.Scale(nice=False))
    else:
        x = alt.X("x:O", title=titles[0], axis=alt.Axis(labelAngle=0), sort=list(dict.fromkeys(frame["x"])))
    axis = alt.Axis(format=form, tickCount=5) if form else alt.Axis(tickCount=5)
    y = alt.Y("mean:Q", title=titles[1], axis=axis, scale=alt.Scale(zero=form == "%"))
    colour = _colour("group", groups, width)
    shape = alt.Shape("group:N", scale=_cycled(SHAPES, groups), sort=groups, legend=_legend(groups, width))
    base = alt.Chart(frame).encode(x=x)
    layers: list[alt.Chart] = []
    for place, group in enumerate(groups):
        dash = DASHES[place % len(DASHES)]
        line = alt.Chart(frame[frame["group"].eq(group)]).mark_line(strokeWidth=2, strokeDash=dash)
        layers.append(line.encode(x=x, y=y, color=colour))
    if "low" in frame:
        layers.append(base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q", color=colour))
    layers.append(base.mark_point(size=40, filled=True, opacity=1).encode(y=y, color=colour, shape=shape))
    return finish(alt.layer(*layers), width, 230 + 14 * (len(groups) // 3), words)


def scatter(frame: pd.DataFrame, titles: tuple[str, str], words: str, width: int) -> alt.LayerChart:
    """Draw points and a line through them.

    Args:
        frame: ``x, mean, line``.
        titles: Of the two axes.
        words: What is to be seen.
        width: In pixels.
    """
    x = alt.X("x:Q", title=_folded(titles[0], width), axis=alt.Axis(tickCount=6), scale=alt.Scale(zero=False))
    y = alt.Y("mean:Q", title=titles[1], axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=False))
    base = alt.Chart(frame).encode(x=x)
    line = base.mark_line(strokeWidth=2, color=MUTED).encode(y=alt.Y("line:Q", title=titles[1]))
    points = base.mark_point(size=40, filled=True, opacity=1, color=PALETTE[0]).encode(y=y)
    return finish(alt.layer(line, points), width, 230, words)


def heat(frame: pd.DataFrame, titles: tuple[str, str], words: str, width: int) -> alt.LayerChart:
    """Draw a surface over two scanned values as cells with their means written in them.

    The colours span at least the widest interval, so that a surface that is flat but for noise looks flat.

    Args:
        frame: ``x, y, mean, low, high``.
        titles: Of the two axes.
        words: What is to be seen.
        width: In pixels.
    """
    columns, rows = list(dict.fromkeys(frame["x"])), list(dict.fromkeys(frame["y"]))
    middle = (frame["mean"].min() + frame["mean"].max()) / 2
    half = np.nanmax([(frame["mean"].max() - frame["mean"].min()) / 2, (frame["high"] - frame["low"]).max(), 1e-9])
    shown = frame.assign(
        text=frame["mean"].map("{:.2f}".format).str.replace("-", "−"),
        ink=np.where(frame["mean"] > middle + half / 5, "#ffffff", "#000000"),
    )
    base = alt.Chart(shown).encode(
        x=alt.X("x:O", sort=columns, title=titles[0], axis=alt.Axis(labelAngle=0, labelLimit=width // len(columns))),
        y=alt.Y("y:O", sort=rows[::-1], title=titles[1], axis=alt.Axis(labelLimit=width // 3)),
    )
    scale = alt.Scale(scheme="blues", domain=[middle - half, middle + half], zero=False, nice=False)
    cells = base.mark_rect(stroke=FAINT).encode(color=alt.Color("mean:Q", scale=scale, legend=None))
    written = base.mark_text(fontSize=11.5).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    chart = alt.layer(cells, written).resolve_scale(color="independent")
    return finish(chart, width, 36 * len(rows) + 50, words)


def _upward(values: "pd.Series[float]") -> dict[str, Any]:
    """Make a logarithmic scale with few lines, or a plain one where a value is 0."""
    low, high = float(values.min()), float(values.max())
    if not low > 0:
        return {"scale": alt.Scale(zero=False), "axis": alt.Axis(tickCount=6)}
    ends = [0.7 * low, 1.2 * high]
    powers = range(int(np.floor(np.log10(ends[0]))), int(np.ceil(np.log10(ends[1]))) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if ends[0] <= step * 10.0**power <= ends[1]]
    scale = alt.Scale(type="log", domain=ends, nice=False)
    return {"scale": scale, "axis": alt.Axis(values=ticks, format=".6~g")}


def _names(names: Sequence[str], width: int) -> alt.Axis:
    """Make an axis that writes names of several lines, with room for them whatever font the reader has."""
    room = min(max(_length(line) for name in names for line in name.split("\n")) + 8, width / 2)
    return alt.Axis(labelLimit=width / 2, labelExpr=_LINES, labelFontSize=10.5, minExtent=room, grid=True)


def _folded(title: str, width: int) -> list[str]:
    """Break the title of an axis into lines that fit."""
    return _wrapped(title, 0.6 * width).split("\n")


def _wrapped(text: str, room: float) -> str:
    """Break a text into lines of so many pixels; one in Chinese has fewer characters to the line."""
    characters = int(room / max(_length(text) / len(text), 5))
    return "\n".join(textwrap.wrap(text, max(characters, 8)))


def _length(text: str) -> float:
    """Guess how many pixels a label takes: a character of Chinese or an emoji is as wide as high."""
    return sum(10.5 if unicodedata.east_asian_width(character) in "WF" else 5.6 for character in text)


def _colour(column: str, groups: Sequence[str], width: int) -> alt.Color:
    """Give each group its colour, and its place in the legend."""
    return alt.Color(f"{column}:N", scale=_cycled(PALETTE, groups), sort=list(groups), legend=_legend(groups, width))


def _legend(groups: Sequence[str], width: int) -> alt.Legend | None:
    """Lay a legend out in as many columns as the width has room for; a single group needs none."""
    return None if len(groups) == 1 else alt.Legend(columns=max(1, (width - 60) // (7 * max(map(len, groups)) + 30)))


def _cycled(values: Sequence[Any], groups: Sequence[str]) -> alt.Scale:
    """Give each group one of some colours or shapes, over again where there are more groups."""
    return alt.Scale(domain=list(groups), range=[values[k % len(values)] for k in range(len(groups))])


def gaps(frame: pd.DataFrame, words: str, width: int) -> alt.LayerChart:
    """Draw how far simulated figures lie from human ones, in standard errors, with a band where that is little.

    Args:
        frame: ``row, z``; a line break in a row's name breaks its label.
        words: What is to be seen.
        width: In pixels.
    """
    rows = list(dict.fromkeys(frame["row"]))
    end = max(4.0, float(frame["z"].abs().max()))
    x = alt.X("z:Q", title="gap in standard errors", scale=alt.Scale(domain=[-end, end], nice=False))
    y = alt.Y("row:N", sort=rows, title=None, axis=_names(rows, width))
    band = alt.Chart(pd.DataFrame({"x": [-2.0], "x2": [2.0]})).mark_rect(color=PALETTE[0], opacity=0.15)
    middle = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=MUTED).encode(x="x:Q")
    points = alt.Chart(frame).mark_point(size=55, filled=True, opacity=1, color=INK).encode(x=x, y=y)
    stems = alt.Chart(frame.assign(zero=0.0)).mark_rule(strokeWidth=1.5, color=INK).encode(x=x, x2="zero:Q", y=y)
    layers = [band.encode(x="x:Q", x2="x2:Q"), middle, stems, points]
    return finish(alt.layer(*layers), width, 30 * len(rows) + 50, words)


def ratios(frame: pd.DataFrame, band: tuple[float, float], words: str, width: int) -> alt.LayerChart:
    """Draw ratios with their intervals against 1, as far apart when halved as when doubled.

    Args:
        frame: ``row, ratio, low, high, flag``; a flag other than the empty one has a shape and a colour of its own.
        band: Ratios between these are as they should be.
        words: What is to be seen.
        width: In pixels.
    """
    ends = {name: frame[name].clip(*_RATIOS).fillna(frame["ratio"].clip(*_RATIOS)) for name in ("ratio", "low", "high")}
    shown = frame.assign(kind=frame["flag"].replace("", "not flagged"), **ends)
    rows, kinds = list(dict.fromkeys(shown["row"])), list(dict.fromkeys(shown["kind"]))
    low, high = min(shown["low"].min(), 0.5), max(shown["high"].max(), 2.0)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    ticks = [tick for tick in (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16) if low <= tick <= high]
    axis = alt.Axis(values=ticks, format=".6~g")
    title = _folded("spread of the model on that of people", width)
    x = alt.X("low:Q", title=title, scale=scale, axis=axis)
    y = alt.Y("row:N", sort=rows, title=None, axis=_names(rows, width))
    colour = _colour("kind", kinds, width)
    shape = alt.Shape("kind:N", scale=_cycled(SHAPES, kinds), sort=kinds, legend=_legend(kinds, width))
    inside = alt.Chart(pd.DataFrame({"x": [band[0]], "x2": [band[1]]})).mark_rect(color=PALETTE[0], opacity=0.15)
    middle = alt.Chart(pd.DataFrame({"x": [1.0]})).mark_rule(color=MUTED).encode(x=alt.X("x:Q", scale=scale))
    base = alt.Chart(shown).encode(y=y)
    intervals = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", color=colour)
    points = base.mark_point(size=55, filled=True, opacity=1)
    layers = [
        inside.encode(x=alt.X("x:Q", scale=scale, title=title, axis=axis), x2="x2:Q"),
        middle,
        intervals,
        points.encode(x=alt.X("ratio:Q", scale=scale, title=title, axis=axis), color=colour, shape=shape),
    ]
    return finish(alt.layer(*layers), width, 30 * len(rows) + 70, words)


def agreement(frame: pd.DataFrame, titles: tuple[str, str], words: str, width: int) -> alt.LayerChart:
    """Draw simulated figures over human ones with both intervals, and the line on which they would be equal.

    Args:
        frame: ``group, human, human_low, human_high, simulated, low, high``.
        titles: Of the horizontal and of the vertical axis.
        words: What is to be seen.
        width: In pixels.
    """
    groups = list(dict.fromkeys(frame["group"]))
    low = float(np.nanmin(frame[["human_low", "low", "human", "simulated"]].to_numpy()))
    high = float(np.nanmax(frame[["human_high", "high", "human", "simulated"]].to_numpy()))
    scale = alt.Scale(domain=[low, high], nice=True, zero=False)
    x = alt.X("human:Q", title=_folded(titles[0], width), scale=scale, axis=alt.Axis(tickCount=6))
    y = alt.Y("simulated:Q", title=titles[1], scale=scale, axis=alt.Axis(tickCount=6))
    colour = _colour("group", groups, width)
    shape = alt.Shape("group:N", scale=_cycled(SHAPES, groups), sort=groups, legend=_legend(groups, width))
    equal = alt.Chart(pd.DataFrame({"human": [low, high], "simulated": [low, high]})).mark_line(
        color=MUTED, strokeWidth=1, strokeDash=[4, 3]
    )
    base = alt.Chart(frame)
    layers: list[alt.Chart] = [
        equal.encode(x=x, y=y),
        base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour),
        base.mark_rule(strokeWidth=1.5).encode(
            x=alt.X("human_low:Q", scale=scale), x2="human_high:Q", y=y, color=colour
        ),
        base.mark_point(size=55, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ]
    return finish(alt.layer(*layers), width, round(0.85 * width), words)


def frontier(
    swept: pd.DataFrame, beside: pd.DataFrame, titles: tuple[str, str], words: str, width: int
) -> alt.LayerChart:
    """Draw two errors against each other over a sweep: what no other setting beats in both is filled and joined.

    The vertical axis is logarithmic unless an error is 0.

    Args:
        swept: ``group, label, x, y, frontier``, the settings of a group in their order.
        beside: ``label, x, y``: what stands beside the sweep, drawn as crosses.
        titles: Of the two axes.
        words: What is to be seen.
        width: In pixels.
    """
    groups = list(dict.fromkeys(swept["group"]))
    x = alt.X("x:Q", title=_folded(titles[0], width), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    every = pd.concat([swept[["x", "y"]], beside[["x", "y"]]])
    y = alt.Y("y:Q", title=titles[1], **_upward(every["y"]))
    colour = _colour("group", groups, width)
    shape = alt.Shape("group:N", scale=_cycled(SHAPES, groups), sort=groups, legend=_legend(groups, width))
    layers: list[alt.Chart] = []
    for group, here in swept.groupby("group", sort=False):
        path = alt.Chart(here.assign(place=range(len(here)))).mark_line(strokeWidth=1, strokeDash=[2, 3], color=MUTED)
        layers.append(path.encode(x=x, y=y, order="place:Q"))
        best = alt.Chart(here[here["frontier"]].sort_values("x").assign(place=lambda rows: range(len(rows))))
        dash = DASHES[groups.index(str(group)) % len(DASHES)]
        layers.append(best.mark_line(strokeWidth=2, strokeDash=dash).encode(x=x, y=y, color=colour, order="place:Q"))
    for filled in (True, False):
        point = alt.Chart(swept[swept["frontier"].eq(filled)]).mark_point(size=50, filled=filled, opacity=1)
        layers.append(point.encode(x=x, y=y, color=colour, shape=shape))
    said = alt.Chart(swept).mark_text(align="left", baseline="bottom", dx=6, dy=-3, fontSize=10.5)
    layers.append(said.encode(x=x, y=y, text="label:N"))
    layers.append(alt.Chart(beside).mark_point(shape="cross", size=45, filled=True, color=MUTED).encode(x=x, y=y))
    right = beside["x"] > every["x"].mean()
    look: dict[str, Any] = {"baseline": "top", "dy": 3, "fontSize": 10.5, "color": MUTED}
    left_name = alt.Chart(beside[~right]).mark_text(align="left", dx=6, **look)
    right_name = alt.Chart(beside[right]).mark_text(align="right", dx=-6, **look)
    layers += [name.encode(x=x, y=y, text="label:N") for name in (left_name, right_name)]
    return finish(alt.layer(*layers), width, round(0.8 * width) if width < 2 * SINGLE else round(0.55 * width), words)
