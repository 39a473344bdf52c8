"""How every picture looks, and how it is drawn to a file in the sizes that a paper takes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import altair as alt
import vl_convert

from popsim.files import write_whole

SINGLE, DOUBLE = 340, 718
"""Widths in pixels, 96 to the inch: 90 mm for a single column, 190 mm for both."""
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of Okabe and Ito, told apart by people with any common colour blindness."""
SHAPES = ("circle", "square", "triangle-up", "cross", "triangle-down", "triangle-right")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
FORMATS: tuple[Literal["svg", "png", "pdf"], ...] = ("svg", "png", "pdf")
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
_DOTS, _POINTS_PER_PIXEL = 600, 0.75


def finish(chart: Any, width: int, height: int, description: str) -> alt.LayerChart:
    """Give a chart its size, its words for those who cannot see it, and the common look."""
    axis = {"labelColor": INK, "titleColor": INK, "domainColor": MUTED, "tickColor": MUTED, "gridColor": FAINT}
    legend = {"labelColor": INK, "titleColor": INK, "labelLimit": 220, "orient": "top", "title": None}
    finished: alt.LayerChart = (
        alt.layer(chart)
        .properties(
            width=width,
            height=height,
            description=description,
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        )
        .configure(background="#00000000", padding=4, font=_FONT, aria=False)
        .configure_axis(**axis, labelFontSize=11.5, titleFontSize=11.5, titleFontWeight="normal", labelLimit=150)
        .configure_legend(**legend, labelFontSize=11.5, symbolStrokeWidth=2)
        .configure_view(stroke=None)
        .configure_text(fontSize=11.5, color=INK)
    )
    return finished


def draw(chart: Any) -> str:
    """Draw a chart as SVG, without any look at a network."""
    return str(vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[]))


def _in_points(svg: str) -> str:
    """Write the outer size in points, which is what a PDF takes it for; the drawing stays as it is."""

    def smaller(size: re.Match[str]) -> str:
        return f'{size[1]}="{_POINTS_PER_PIXEL * float(size[2]):g}"'

    head, end, rest = svg.partition(">")
    return re.sub(r'(?<= )(width|height)="([\d.]+)"', smaller, head) + end + rest


def save(chart: Any, path: Path, formats: tuple[str, ...] = FORMATS) -> list[Path]:
    """Draw a chart to files beside each other; a pixel of its width is 1/96 inch in all of them.

    Args:
        chart: From this package.
        path: Without ending.
        formats: Some of svg, png (600 dots to the inch) and pdf.

    Returns:
        The files.
    """
    svg = draw(chart)
    made = {
        "svg": lambda: svg.encode(),
        "png": lambda: vl_convert.svg_to_png(svg, scale=_POINTS_PER_PIXEL, ppi=_DOTS),
        "pdf": lambda: vl_convert.svg_to_pdf(_in_points(svg)),
    }
    files = [path.with_name(f"{path.name}.{ending}") for ending in formats]
    for file in files:
        content = made[file.suffix[1:]]()
        write_whole(file, lambda to, content=content: to.write_bytes(content))  # type: ignore[misc]
    return files


def save_sizes(chart: Callable[[int], Any], path: Path) -> list[Path]:
    """Draw a picture as SVG, PNG and PDF: NAME for a single column (90 mm), NAME-double for both (190 mm).

    Args:
        chart: Draws it at a width in pixels.
        path: Without ending.

    Returns:
        The files.
    """
    sizes = (("", SINGLE), ("-double", DOUBLE))
    return [file for end, width in sizes for file in save(chart(width), path.with_name(f"{path.name}{end}"))]
