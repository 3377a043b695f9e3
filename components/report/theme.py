"""How figures look: matplotlib without global state, and SVG whose colours follow the page's light and dark themes."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from components.report import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which people see apart whatever their colour vision; the page has darker-theme twins.
INK, MUTED, GRID, PAPER = "#1b1f24", "#59636e", "#e1e4e8", "#fefefe"
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#c76a00", "#00806a", "#c0392b", "#a3588f", "#8b949e"
LINES = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    RED: "red",
    PURPLE: "purple",
    GREY: "grey",
}
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a group may be called $50K
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "axes.unicode_minus": True,
}


class Drawn(NamedTuple):
    """A figure, its name as a file, and what it shows in a sentence for those who cannot see it."""

    name: str
    figure: Figure
    title: str


@contextmanager
def style(salt: str = "evernas") -> Iterator[None]:
    """Draw and save in the house's style; `salt` keeps the ids of several figures on one page apart."""
    import matplotlib as mpl

    settings: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # names are in any script
        yield


def figure(height: float, width: float = 7.2) -> Figure:
    """Return an empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def finish(drawn: Figure) -> None:
    """Put one legend for all axes above them, each label once, and lay the figure out, once for all its files."""
    handles: dict[str, Any] = {}
    for axes in drawn.axes:
        handles.update({label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)})
    if handles:
        drawn.legend(
            handles.values(), handles.keys(), loc="outside upper left", ncols=3, columnspacing=1.2, handletextpad=0.4
        )
    if (layout := drawn.get_layout_engine()) is not None:
        layout.execute(drawn)
    drawn.set_layout_engine("none")


def label_axis(axes: Axes, side: str, metric: str, of: str = "") -> None:
    """Name the `x` or `y` axis after `metric` with its unit, and write its ticks as people write such figures."""
    from matplotlib.ticker import FuncFormatter

    getattr(axes, f"set_{side}label")(of + words.axis(metric))
    percent = metric in words.SHARES

    def tick(value: float, _: Any) -> str:
        return f"{100 * value:.4g}" if percent else _short(value)

    getattr(axes, f"{side}axis").set_major_formatter(FuncFormatter(tick))


def count_axis(axes: Axes, label: str) -> None:
    """Name the x axis, which counts something: its ticks are whole."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def spread_axis(axes: Axes, side: str, values: Sequence[float]) -> None:
    """Make the axis logarithmic if its positive `values` span more than a factor of 30; before it is labelled."""
    from matplotlib.ticker import NullFormatter

    if values and min(values) > 0 and max(values) > 30 * min(values):
        getattr(axes, f"set_{side}scale")("log")
        getattr(axes, f"{side}axis").set_minor_formatter(NullFormatter())


def svg(drawn: Drawn) -> str:
    """Return `drawn` as an SVG element for a page, the same for the same figure; its title is what a reader hears.

    Text stays text, in the page's font, and each colour is a variable of the page's style sheet.
    """
    buffer = io.StringIO()
    with style(drawn.name):
        drawn.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", buffer.getvalue(), count=1, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: _themed(tag[0]), text[text.index("<svg") :])
    label = html.escape(drawn.title, quote=True)
    return re.sub(r'width="[^"]*" height="[^"]*"', lambda _: f'role="img" aria-label="{label}"', text, count=1)


def _themed(tag: str) -> str:
    """Return a tag of matplotlib's SVG without what is the page's to say, and no more digits than can be seen."""
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)  # they repeat from figure to figure
    tag = re.sub(r"font-family: [^;]*; ", "", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


def png(drawn: Drawn) -> bytes:
    """Return `drawn` as a PNG file."""
    buffer = io.BytesIO()
    with style():
        drawn.figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _short(value: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{suffix}"
    return f"{value:.4g}"
