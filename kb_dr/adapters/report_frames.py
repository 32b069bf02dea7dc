"""Integrity reports as pandas frames, so that people can take them further."""

from collections.abc import Iterable

import pandas as pd

from kb_dr.domain.coverage import Band, share
from kb_dr.domain.integrity_report import IntegrityReport


def backups_frame(report: IntegrityReport) -> pd.DataFrame:
    """One row for each backup of each copy: what it is, why it is kept, what is shown of it."""
    rows = [
        {
            "copy": copy.copy,
            "backup_id": each.id,
            "kind": str(each.kind),
            "finished": each.finished,
            "stored_bytes": each.stored_bytes,
            "tiers": ",".join(each.tiers),
            "keep": each.keep,
            "standing": str(each.standing),
            "proof_id": each.proof_id,
            "proven_at": each.proven_at,
            "held": bool(each.holds),
            "problem": each.problem,
        }
        for copy in report.copies
        for each in copy.backups
    ]
    frame = pd.DataFrame(rows, columns=_BACKUP_COLUMNS)
    for column in ("finished", "proven_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def storage_frame(reports: Iterable[IntegrityReport]) -> pd.DataFrame:
    """Stored bytes over time: one row for each report, copy and tier."""
    rows = [
        {"at": report.at, "copy": copy.copy, "tier": tier, "stored_bytes": size}
        for report in reports
        for copy in report.copies
        if not copy.problem
        for tier, size in copy.tier_bytes().items()
    ]
    frame = pd.DataFrame(rows, columns=["at", "copy", "tier", "stored_bytes"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


def storage_trend(storage: pd.DataFrame) -> pd.DataFrame:
    """By copy and tier: what is stored now, and how it grows, in bytes a day.

    The slope of a line through all reports given (least squares); 0 of a single one.
    """
    columns = ["copy", "tier", "stored_bytes", "bytes_a_day"]
    if storage.empty:
        return pd.DataFrame(columns=columns)
    wide = storage.pivot_table(
        index="at", columns=["copy", "tier"], values="stored_bytes", aggfunc="sum", fill_value=0
    ).sort_index()
    moments = pd.Series(wide.index, index=wide.index)
    days = (moments - moments.iloc[0]).dt.total_seconds() / 86400
    centred = days - days.mean()
    spread = float((centred**2).sum())
    slope = (
        wide.mul(centred, axis=0).sum() / spread if spread else pd.Series(0.0, index=wide.columns)
    )
    pairs = dict.fromkeys(zip(storage["copy"], storage["tier"], strict=True))
    return pd.DataFrame(
        [
            (copy, tier, int(wide[copy, tier].iloc[-1]), float(slope[copy, tier]))
            for copy, tier in sorted(pairs)
        ],
        columns=columns,
    )


def coverage_frame(reports: Iterable[IntegrityReport]) -> pd.DataFrame:
    """Verified coverage over time: one row for each report, shares from 0 to 1."""
    rows = [
        {
            "at": report.at,
            "backups": report.coverage.backups,
            "window": report.coverage.window,
            "copies": report.coverage.copies,
            "dumps": report.coverage.dumps,
            **{f"window_of_{c.copy}": share(c.stretches, Band.PROVEN) for c in report.copies},
        }
        for report in reports
    ]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["at"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


_BACKUP_COLUMNS = [
    "copy", "backup_id", "kind", "finished", "stored_bytes", "tiers", "keep", "standing",
    "proof_id", "proven_at", "held", "problem",
]  # fmt: skip
