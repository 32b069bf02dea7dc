"""The recoverable window as a picture: what is proven, recoverable, or a gap, per copy."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kb_dr.domain.coverage import Band, Stretch

_COLOURS = {Band.PROVEN: "#2a7f3f", Band.RECOVERABLE: "#d9a521", Band.GAP: "#c0392b"}
_HATCHES = {Band.PROVEN: "", Band.RECOVERABLE: "//", Band.GAP: "xx"}
"""Told apart without colours as well."""

_WORDS = {
    Band.PROVEN: "proven by a restore",
    Band.RECOVERABLE: "recoverable, not proven",
    Band.GAP: "gap: cannot be reached",
}

_INCHES_WIDE = 10.0
_INCHES_A_COPY = 0.55


def draw_windows(
    copies: Mapping[str, Sequence[Stretch]],
    backups: Mapping[str, Sequence[datetime]],
    now: datetime,
    *,
    title: str,
) -> bytes:
    """A PNG with one bar for each copy, and a mark for each of its backups.

    A copy without anything recoverable has an empty bar that says so. Times are UTC.
    """
    # Only here: it takes a second to import, and nothing else needs it.
    import matplotlib.dates as mdates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = Figure(
        figsize=(_INCHES_WIDE, 1.6 + _INCHES_A_COPY * max(len(copies), 1)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(copies)
    begins = min((each[0].begins for each in copies.values() if each), default=now)
    for row, name in enumerate(names):
        if not copies[name]:
            axes.text(0.5, row, "nothing is known to be recoverable", ha="center", va="center",
                      transform=axes.get_yaxis_transform(), color=_COLOURS[Band.GAP])  # fmt: skip
        for each in copies[name]:
            axes.barh(
                row,
                _days(each.ends) - _days(each.begins),
                left=_days(each.begins),
                height=0.5,
                color=_COLOURS[each.band],
                hatch=_HATCHES[each.band],
                edgecolor="white",
                linewidth=0,
            )
        marks = [_days(at) for at in backups.get(name, ()) if begins <= at <= now]
        axes.plot(marks, [row + 0.36] * len(marks), "v", color="#333333", markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.7)
    if begins < now:
        axes.set_xlim(_days(begins), _days(now))
    locator = mdates.AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(locator, tz=UTC)
    axes.xaxis.set_major_formatter(formatter)
    axes.set_title(f"{title}, at {now:%Y-%m-%d %H:%M} UTC", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(
        handles=[
            Patch(
                facecolor=_COLOURS[band],
                hatch=_HATCHES[band],
                edgecolor="white",
                label=_WORDS[band],
            )
            for band in Band
        ]
        + [Line2D([], [], marker="v", color="#333333", linestyle="", label="a backup")],
        loc="outside lower center",
        ncols=len(Band) + 1,
        frameon=False,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _days(at: datetime) -> float:
    """A moment as matplotlib counts dates: days since 1970."""
    return at.timestamp() / 86400
