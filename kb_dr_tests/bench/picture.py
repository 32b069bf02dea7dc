"""The contest as one picture: seconds of each contestant over ours, work by work."""

import io
from collections.abc import Sequence
from typing import Any

from kb_dr_tests.bench.contest import OURS, PLAIN_CP, US, Standing, Work, standings
from kb_dr_tests.bench.goals import size
from kb_dr_tests.bench.results import Findings

_OURS, _BEHIND, _AHEAD, _LIMIT = "#1f5fa8", "#9aa7b4", "#d9822b", "#dfe4e9"
_TEXT, _FAINT = "#222222", "#777777"
_INCHES_WIDE, _INCHES_A_BAR, _INCHES_A_PANEL = 5.2, 0.27, 0.75
_WIDEST = 6.0
"""Bars of more than so many times ours are cut off, and say how long they are."""


def draw(found: Findings, title: str) -> bytes | None:
    """A PNG on an opaque light ground, so that it reads alike on a dark page; None without peers.

    One panel for each work and store, at the largest size measured there.
    """
    panels = _panels(found)
    if not panels:
        return None
    # Only here: it takes a second to import, and nothing else needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    works = [each for each in Work if any(work is each for work, _ in panels)]
    stores = list(dict.fromkeys(store for _, store in panels))
    bars = [max(len(panels.get((work, store), ())) for store in stores) for work in works]
    figure = Figure(
        figsize=(
            _INCHES_WIDE * max(len(stores), 1.4),
            0.9 + sum(_INCHES_A_PANEL + _INCHES_A_BAR * each for each in bars),
        ),
        layout="constrained",
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(works), len(stores), squeeze=False, gridspec_kw={"height_ratios": [n + 2 for n in bars]}
    )
    for row, work in zip(grid, works, strict=True):
        for axes, store in zip(row, stores, strict=True):
            _draw(axes, panels.get((work, store), ()), f"{work}, {store}")
    figure.suptitle(f"{title}\nshorter is quicker; orange is quicker than kb_dr", x=0.01, ha="left",
                    fontsize=11, color=_TEXT)  # fmt: skip
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _panels(found: Findings) -> dict[tuple[Work, str], tuple[Standing, ...]]:
    """By work and store: all that were measured at the largest size, if we and a peer were."""
    every = standings(found.tries)
    panels: dict[tuple[Work, str], tuple[Standing, ...]] = {}
    for us in sorted(every, key=lambda each: each.plain_bytes):
        if us.contestant != US:
            continue
        there = [
            each for each in every
            if (each.work, each.plain_bytes) == (us.work, us.plain_bytes)
            and (each.store == us.store or each.contestant == PLAIN_CP)
        ]  # fmt: skip
        if len(there) > 1:
            ordered = sorted(there, key=lambda each: (each.contestant != US, each.seconds))
            panels[us.work, us.store] = tuple(ordered)
    return panels


def _draw(axes: Any, there: Sequence[Standing], title: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    if not there:
        axes.set_axis_off()
        return
    us = there[0]
    amount = f"{us.segments} segments" if us.segments else size(us.plain_bytes)
    axes.set_title(f"{title}: {amount}", loc="left", fontsize=9, color=_TEXT)
    ratios = [each.seconds / us.seconds for each in there]
    shown = [min(each, _WIDEST) for each in ratios]
    limit = 1.45 * max(shown)
    bars = axes.barh(
        range(len(there)), shown, height=0.62,
        color=[_colour(each, us) for each in there], zorder=2,
    )  # fmt: skip
    for bar, each, value in zip(bars, there, ratios, strict=True):
        bar.set_hatch("///" if each.contestant == PLAIN_CP else "")
        bar.set_edgecolor("#8a94a0" if each.contestant == PLAIN_CP else "none")
        cut = "… " if value > _WIDEST else ""
        axes.text(
            bar.get_width() + 0.01 * limit, bar.get_y() + bar.get_height() / 2,
            f"{cut}{value:.2f}  ({each.seconds:.1f} s)", va="center", fontsize=8, color=_TEXT,
        )  # fmt: skip
    axes.axvline(1.0, color=_OURS, linewidth=0.8, linestyle="--", zorder=1)
    axes.set_yticks(range(len(there)), [_name(each) for each in there], fontsize=8, color=_TEXT)
    axes.invert_yaxis()
    axes.set_xlim(0, limit)
    axes.tick_params(axis="x", labelsize=7, colors=_FAINT)
    axes.tick_params(axis="y", length=0)


def _colour(each: Standing, us: Standing) -> str:
    if each.contestant in OURS:
        return _OURS
    if each.contestant == PLAIN_CP:
        return _LIMIT
    return _AHEAD if each.seconds < us.seconds else _BEHIND


def _name(each: Standing) -> str:
    return "cp (the limit)" if each.contestant == PLAIN_CP else each.contestant
