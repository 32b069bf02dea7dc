"""Objectives: what has to hold, held against what was seen. Missing evidence never holds."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from kb_dr.domain.copies import copy_that_counts, further_copies
from kb_dr.domain.finding import Finding, all_good
from kb_dr.domain.forecast import Forecast, MeasuredRun, forecast
from kb_dr.domain.heartbeat import judge_beat
from kb_dr.domain.proof import Outcome, Standing
from kb_dr.domain.proven_base import proven_base
from kb_dr.domain.rpo import measure_rpo
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import (
    CopyForecast,
    CopyRpo,
    CopyStatus,
    Rto,
    Status,
    WindowStatus,
)

CLOCK_SLACK_SECONDS = 120.0
"""Two clocks may differ so much."""


class Limits(Protocol):
    """What must hold, in seconds."""

    @property
    def rpo_seconds(self) -> float: ...
    @property
    def rto_seconds(self) -> float: ...
    @property
    def backup_age_seconds(self) -> float: ...
    @property
    def proof_age_seconds(self) -> float: ...


def judge_status(
    copies: Sequence[CopyStatus],
    limits: Limits,
    now: datetime,
    *,
    source: SourceFacts | None = None,
    heartbeat: bool = False,
    unread_proofs: Sequence[str] = (),
    also: Sequence[Finding] = (),
    notes: Iterable[str] = (),
) -> Status:
    """The answer for every copy that is configured; each has to hold by itself.

    ``copies``: every one that is configured, in the order of COPY_NAMES; see copies.py for the
    one whose proofs count.
    ``heartbeat``: whether one is expected of the source.
    ``unread_proofs`` names proofs that could not be read: any of them may be a FAILED one.
    ``also`` are objectives judged elsewhere, which have to hold as well.
    """
    rpo = tuple(measure_rpo(copy, copies, now, source, heartbeat=heartbeat) for copy in copies)
    known = [each.seconds for each in rpo if each.seconds is not None]
    rto = _measured_rto(copies)
    forecasts = _forecasts(copies)
    objectives = (
        *(_reachable(copy) for copy in copies),
        *(hold_rpo(each, limits.rpo_seconds) for each in rpo),
        *(_backup_age(copy, limits.backup_age_seconds, now) for copy in copies),
        *hold_proof_ages(copies, limits.proof_age_seconds, now),
        *(_newest_is_not_bad(copy) for copy in copies),
        _proofs_read(unread_proofs, cut=any(copy.looked_since for copy in copies)),
        _held_rto(rto, limits.rto_seconds),
        *(_held_forecast(each, limits.rto_seconds) for each in forecasts),
        *((judge_beat(source.beat, source.now),) if heartbeat and source is not None else ()),
        hold_clocks(copies, now, source),
        *also,
    )
    return Status(
        now=now,
        recoverable=any(_recovers(copy) for copy in copies),
        holds=bool(copies) and all_good(objectives),
        rpo_seconds=max(known) if known and len(known) == len(rpo) else None,
        rto=rto,
        rpo=rpo,
        forecasts=forecasts,
        windows=_windows(copies),
        copies=tuple(copies),
        objectives=objectives,
        notes=(*notes, *_gaps(copies), *_broken(copies), *_not_looked_at(copies)),
    )


def _recovers(copy: CopyStatus) -> bool:
    window = copy.tip_window
    return window is not None and window.end is not None


def _reachable(copy: CopyStatus) -> Finding:
    subject = f"{copy.copy} can be read"
    if copy.problem:
        return Finding(subject, Outcome.COULD_NOT_RUN, copy.problem, copy.hint)
    if copy.unreadable:
        return Finding(
            subject,
            Outcome.FAILED,
            f"{len(copy.unreadable)} unreadable: {copy.unreadable[0]}",
            "A record was damaged, or written by a newer kb_dr; the other copy may hold it.",
        )
    return Finding(subject, Outcome.PASSED, f"{_looked_at(copy)} in {copy.url}")


def _looked_at(copy: CopyStatus) -> str:
    since = f" since {copy.looked_since:%Y-%m-%d %H:%M}Z" if copy.looked_since else ""
    return f"{len(copy.backups)} backups{since}"


def hold_rpo(rpo: CopyRpo, limit: float) -> Finding:
    """The RPO of one copy against the limit; could not run where it is not known."""
    hint = "See whether WAL arrives: `kb-dr doctor`, `kb-dr wal audit`, `kb-dr copy --wal-only`."
    if rpo.base is None:
        hint = f"Only what was restored once counts: `kb-dr verify latest --from {rpo.copy}`."
    return _within(f"RPO of {rpo.copy}", rpo.seconds, limit, rpo.seen, hint)


def _backup_age(copy: CopyStatus, limit: float, now: datetime) -> Finding:
    newest = copy.newest_backup
    return _within(
        f"age of the newest backup in {copy.copy}",
        (now - newest.finished).total_seconds() if newest else None,
        limit,
        newest.id if newest else copy.problem or "there is no backup",
        "`kb-dr backup full`, then `kb-dr copy`.",
    )


def hold_proof_ages(copies: Sequence[CopyStatus], limit: float, now: datetime) -> Iterator[Finding]:
    """The age of the newest proof of the copy that counts, and of each further one.

    A proof of the primary says nothing of the copy that is left after a disaster. The further
    copies take turns, so that each may be so many times as old as there are copies.
    """
    subject = "age of the newest proof"
    if not copies:
        yield Finding(subject, Outcome.COULD_NOT_RUN, "no backup is proven from any copy", "")
        return
    names = [copy.copy for copy in copies]
    counting = copy_that_counts(names)
    by_name = {copy.copy: copy for copy in copies}
    yield _proof_age(by_name[counting], subject, limit, now)
    for name in further_copies(names):
        if name != counting:
            yield _proof_age(by_name[name], f"{subject} of {name}", limit * len(names), now)


def _proof_age(copy: CopyStatus, subject: str, limit: float, now: datetime) -> Finding:
    newest, hint = copy.newest_proof, _verify(copy.copy)
    if newest is None:
        seen = f"no backup is proven from {copy.copy}"
        return Finding(subject, Outcome.COULD_NOT_RUN, seen, hint)
    seconds = (now - newest.proven_at).total_seconds()
    return _within(subject, seconds, limit, f"{newest.id} from {copy.copy}", hint)


def _newest_is_not_bad(copy: CopyStatus) -> Finding:
    subject = f"newest backup in {copy.copy}"
    newest = copy.newest_backup
    if newest is None:
        return Finding(subject, Outcome.COULD_NOT_RUN, copy.problem or "there is none", "")
    tried = [each for each in copy.backups if each.standing in (Standing.PROVEN, Standing.FAILED)]
    judged = max(tried, key=lambda each: each.finished, default=newest)
    if judged.standing is Standing.FAILED:
        # Also behind newer backups, while nobody has tried those: they may be as bad.
        why = judged.broken or "its newest proof is FAILED"
        seen = f"{judged.id}: {why}, and no newer backup is proven"
        return Finding(subject, Outcome.FAILED, seen, f"`kb-dr show {judged.id}`; `kb-dr verify`.")
    if not newest.wal_complete:
        seen = f"{newest.id}: WAL it needs is missing"
        return Finding(subject, Outcome.FAILED, seen, f"`kb-dr validate {newest.id}`")
    if not tried and copy.looked_since is not None:
        # An older one may have FAILED, and then those behind it may be as bad.
        seen = f"none of {_looked_at(copy)} was ever tried; older ones were not looked at"
        return Finding(subject, Outcome.COULD_NOT_RUN, seen, _EVERYTHING)
    return Finding(subject, Outcome.PASSED, f"{newest.id}: {newest.standing}")


def _proofs_read(unread: Sequence[str], *, cut: bool) -> Finding:
    if unread:
        hint = "A proof that cannot be read may be a FAILED one: verify that backup again."
        return Finding("proofs can be read", Outcome.COULD_NOT_RUN, unread[0], hint)
    seen = "all of the backups looked at" if cut else "all of them"
    return Finding("proofs can be read", Outcome.PASSED, seen)


def _measured_rto(copies: Sequence[CopyStatus]) -> Rto | None:
    found = [(copy.copy, each) for copy in copies for each in copy.proven]
    if not found:
        return None
    copy, newest = max(found, key=lambda each: each[1].proven_at)
    return Rto(newest.rto_seconds, newest.id, copy, newest.proof_id, newest.phases)


def _held_rto(rto: Rto | None, limit: float) -> Finding:
    seen = f"{rto.backup_id} from {rto.copy}" if rto else "no restore was proven"
    hint = _verify(rto.copy) if rto else "`kb-dr verify latest`"
    return _within("RTO", rto.seconds if rto else None, limit, seen, hint)


def _forecasts(copies: Sequence[CopyStatus]) -> tuple[CopyForecast, ...]:
    proofs = [(copy.copy, each) for copy in copies for each in copy.proven]
    proofs.sort(key=lambda each: each[1].proven_at, reverse=True)
    measured = [MeasuredRun(copy, each.phases, each.rto_seconds) for copy, each in proofs]
    found = []
    for copy in copies:
        newest = copy.newest_usable
        if newest is None or newest.work is None:
            none = Forecast(
                (), None, copy.problem or "no usable backup: there is nothing to restore"
            )
            found.append(CopyForecast(copy.copy, None, none))
        else:
            told = forecast(newest.work, measured, copy=copy.copy)
            found.append(CopyForecast(copy.copy, newest.id, told))
    return tuple(found)


def _held_forecast(told: CopyForecast, limit: float) -> Finding:
    """A database that has grown breaks the objective before a restore of it does."""
    seen = f"{told.backup_id}, {told.forecast.basis}" if told.backup_id else told.forecast.basis
    longest = told.forecast.longest
    if longest is not None and told.forecast.seconds is not None:
        seen += f", {_span(longest.seconds)} of it {longest.name} ({longest.basis})"
    subject = f"RTO forecast from {told.copy}"
    return _within(subject, told.forecast.seconds, limit, seen, _verify(told.copy))


def _windows(copies: Sequence[CopyStatus]) -> tuple[WindowStatus, ...]:
    return tuple(
        WindowStatus(
            copy=copy.copy,
            begins_at=window.begins_at,
            ends_at=window.end.at if window.end else None,
            timeline=window.timeline,
            backups=len(window.backups),
            base=proven_base(window, copy, copies),
            problem=window.problem,
            or_earlier=copy.looked_since is not None,
        )
        for copy in copies
        for window in copy.windows
    )


def hold_clocks(copies: Sequence[CopyStatus], now: datetime, source: SourceFacts | None) -> Finding:
    """Nothing recorded may lie ahead of the clock: every age here would be too small."""
    seen = [("a backup", each.finished) for copy in copies for each in copy.backups]
    seen += [("a proof", each.proven_at) for copy in copies for each in copy.proven]
    seen += [
        (f"a {window.end.what} in the WAL", window.end.at)
        for copy in copies
        for window in copy.windows
        if window.end is not None
    ]
    hint = "Set the clock of this machine (NTP) before you trust any age shown here."
    ahead = [(what, (at - now).total_seconds()) for what, at in seen]
    late = max(ahead, key=lambda each: each[1], default=None)
    if late is not None and late[1] > CLOCK_SLACK_SECONDS:
        return Finding("clocks", Outcome.FAILED, f"{late[0]} is {late[1]:.0f} s ahead", hint)
    if source is not None:
        off = (source.now - now).total_seconds()
        if abs(off) > CLOCK_SLACK_SECONDS:
            return Finding("clocks", Outcome.FAILED, f"the source's is {off:+.0f} s off", hint)
        if late is None:
            said = f"the source's is {off:+.1f} s off; nothing is recorded yet"
            return Finding("clocks", Outcome.PASSED, said)
    if late is None:
        return Finding("clocks", Outcome.COULD_NOT_RUN, "nothing to compare with", "")
    return Finding("clocks", Outcome.PASSED, "nothing recorded is ahead of the clock")


def _within(subject: str, seconds: float | None, limit: float, seen: str, hint: str) -> Finding:
    if seconds is None:
        return Finding(subject, Outcome.COULD_NOT_RUN, seen, hint)
    text = f"{seen}: {_span(seconds)}, allowed {_span(limit)}"
    # Not written as `seconds > limit`: a number that is none must not pass.
    held = -CLOCK_SLACK_SECONDS <= seconds <= limit
    return Finding(subject, Outcome.PASSED if held else Outcome.FAILED, text, "" if held else hint)


def _broken(copies: Sequence[CopyStatus]) -> Iterator[str]:
    """What of each copy cannot be used, though it is all there itself."""
    for copy in copies:
        broken = [each for each in copy.backups if each.broken]
        if broken:
            yield (
                f"{copy.copy}: {len(broken)} incremental backups cannot be used, the newest is "
                f"{broken[-1].id}: {broken[-1].broken}"
            )


def _gaps(copies: Sequence[CopyStatus]) -> list[str]:
    return [
        f"{copy.copy}: {len(copy.windows)} windows; between them nothing can be recovered"
        for copy in copies
        if len(copy.windows) > 1
    ]


def _not_looked_at(copies: Sequence[CopyStatus]) -> list[str]:
    """What nothing here speaks of: an old backup that cannot be read, an old gap."""
    return [
        f"{copy.copy}: {_looked_at(copy)} were looked at; nothing is said of older ones "
        f"({_EVERYTHING})"
        for copy in copies
        if copy.looked_since is not None
    ]


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def _verify(copy: str) -> str:
    return f"`kb-dr verify latest --from {copy}`"


_EVERYTHING = "`kb-dr status --everything` looks at all of them"
