"""RTO, RPO, size, duration and coverage over time, as one picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kb_dr.domain import trends
from kb_dr.domain.trends import Point, Trends
from kb_dr.domain.wording import age

_RED = "#c0392b"
_COLOURS = 48
_INCHES_WIDE, _INCHES_A_PANEL = 10.0, 1.7


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    label: str
    colour: str
    marker: str


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    """Of what is drawn: ``seconds``, ``bytes`` or ``share``."""
    lines: tuple[_Line, ...]


_PANELS = (
    _Panel("RTO: proven restores", "seconds", (_Line(trends.RTO, "measured", "#1f5fa8", "o"),)),
    _Panel("RPO: what a disaster would have cost", "seconds",
           (_Line(trends.RPO, "worst copy", "#1f5fa8", "o"),)),
    _Panel("size of backups as stored", "bytes",
           (_Line(trends.FULL_BYTES, "full", "#2a7f3f", "o"),
            _Line(trends.INCR_BYTES, "incremental", "#d9a521", "."))),
    _Panel("how long backups took", "seconds",
           (_Line(trends.FULL_SECONDS, "full", "#2a7f3f", "o"),
            _Line(trends.INCR_SECONDS, "incremental", "#d9a521", "."))),
    _Panel("coverage: shown to work", "share",
           (_Line(trends.OF_BACKUPS, "retained backups", "#2a7f3f", "o"),
            _Line(trends.OF_WINDOW, "window of the worst copy", "#1f5fa8", "s"),
            _Line(trends.OF_COPIES, "copies", "#d9a521", "^"))),
)  # fmt: skip

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "seconds": ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")),
    "bytes": ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "bytes")),
    "share": ((0.01, "%"),),
}


def draw_readiness(found: Trends, *, rto_seconds: float, rpo_seconds: float, title: str) -> bytes:
    """A PNG with one panel for each of them; what is allowed is a dashed line. Times are UTC.

    A panel without a point says so: nothing measured is not zero.
    """
    # Only here: it takes a second to import, and nothing else needs it.
    import matplotlib.dates as mdates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(_INCHES_WIDE, 0.6 + _INCHES_A_PANEL * len(_PANELS)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(_PANELS), sharex=True)
    allowed = {trends.RTO: rto_seconds, trends.RPO: rpo_seconds}
    for axes, panel in zip(rows, _PANELS, strict=True):
        _draw(axes, panel, found, allowed.get(panel.lines[0].name))
    rows[-1].set_xlim(*_limits(found))
    locator = mdates.AutoDateLocator(tz=UTC)
    rows[-1].xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(locator, tz=UTC)
    rows[-1].xaxis.set_major_formatter(formatter)
    figure.suptitle(f"{title}, to {found.until:%Y-%m-%d %H:%M} UTC", x=0.01, ha="left", fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=90)
    return _in_few_colours(picture)


def _limits(found: Trends) -> tuple[float, float]:
    """From the first point there is: a service of yesterday fills its picture, too."""
    every = [point.at for points in found.series.values() for point in points]
    begins, ends = _days(min(every, default=found.since)), _days(found.until)
    margin = max(0.02 * (ends - begins), 1 / 1440)
    return begins - margin, ends + margin


def _in_few_colours(picture: io.BytesIO) -> bytes:
    """The same in a third of the bytes: it is kept in Dagster's event log each hour."""
    from PIL import Image

    few = io.BytesIO()
    with Image.open(picture) as whole:
        # By coverage: what is allowed is a thin line, and has to stay red.
        drawn = whole.convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
        drawn.save(few, format="PNG", optimize=True)
    return few.getvalue()


def _draw(axes: Any, panel: _Panel, found: Trends, allowed: float | None) -> None:
    drawn = [(line, found.series.get(line.name, ())) for line in panel.lines]
    largest = max((each.value for _, points in drawn for each in points), default=allowed or 0.0)
    scale, unit = _scale(panel.unit, largest)
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.set_ylabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    if not any(points for _, points in drawn):
        axes.text(0.5, 0.5, "nothing was measured yet", ha="center", va="center",
                  transform=axes.transAxes, color="#777777", fontsize=9)  # fmt: skip
        axes.set_yticks([])
        return
    for line, points in ((line, points) for line, points in drawn if points):
        axes.plot(_moments(points), [each.value / scale for each in points], color=line.colour,
                  marker=line.marker, markersize=4, linewidth=1, label=line.label)  # fmt: skip
    top = 105.0 if panel.unit == "share" else 1.15 * largest / scale
    if allowed is not None:
        # Far above all that was measured it would flatten the rest: then it is said in words.
        if allowed / scale <= 4 * top:
            axes.axhline(allowed / scale, color=_RED, linestyle="--", linewidth=1, label="allowed")
            top = max(top, 1.15 * allowed / scale)
        else:
            axes.plot([], [], color=_RED, linestyle="--", label=f"allowed: {age(allowed)}")
    axes.set_ylim(0, top or 1.0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def _scale(unit: str, largest: float) -> tuple[float, str]:
    scales = _SCALES[unit]
    return next((each for each in scales if largest >= 2 * each[0]), scales[-1])


def _moments(points: Sequence[Point]) -> list[float]:
    return [_days(each.at) for each in points]


def _days(at: datetime) -> float:
    """A moment as matplotlib counts dates: days since 1970."""
    return at.timestamp() / 86400
