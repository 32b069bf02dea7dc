"""Can we recover now?"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from kb_dr.domain.control import ALL, blind_hosts, void_through, why_void
from kb_dr.domain.control_objective import ControlLimits, judge_controls
from kb_dr.domain.far_enough import (
    LOOKED_AT,
    MOST_LOOKED_AT,
    far_enough,
    oldest_that_counts,
)
from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS, judge_status
from kb_dr.domain.replication_slot import judge_slot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import CopyStatus, Status
from kb_dr.errors import KbDrError
from kb_dr.operations.backup_proofs import gather_proofs_of
from kb_dr.operations.catalog_part import CatalogPart
from kb_dr.operations.controls import GatheredControls, gather_control_runs
from kb_dr.operations.initialise import check_marker
from kb_dr.operations.survey import survey_part
from kb_dr.ports import Clock, Codec, Repository


class Asked(Protocol):
    """As much of kb_dr.ports.SourceServer as is asked here."""

    def facts(self) -> SourceFacts: ...


def take_status(
    repositories: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    limits: ControlLimits,
    *,
    service: str,
    org: str,
    source: Asked | None = None,
    heartbeat: bool = False,
    also: Sequence[Finding] = (),
    everything: bool = False,
) -> Status:
    """Look at every copy that is configured, and hold what is seen against the objectives.

    Each copy is looked at from its newest backup on, as far back as that takes: see
    far_enough(). With ``everything`` to its very first. ``also`` are findings that have to be good
    as well. Raises nothing of ours: a copy that cannot be read breaks objectives, a source that
    cannot be reached only takes away what it could have said in our favour.
    """
    facts: SourceFacts | None = None
    notes: list[str] = []
    if source is not None:
        try:
            facts = source.facts()
        except KbDrError as error:
            notes.append(f"the source does not answer: {error}")
    if facts is not None and facts.slot is not None:
        slot = judge_slot(facts.slot, facts.segment_bytes)
        if not slot.good:
            notes.append(f"{slot.subject}: {slot.seen}. {slot.hint}")
    controls = gather_control_runs(repositories)
    void = void_through(controls.runs)
    if void is not None and void != ALL:
        also_of = "".join(f", and all of {host}," for host in blind_hosts(controls.runs))
        notes.append(
            f"proofs of {void.through.isoformat(timespec='seconds')} and before{also_of} are "
            f"void: {why_void(controls.runs)}"
        )
    parts = [CatalogPart(each, service=service, org=org, now=clock.now()) for each in repositories]
    copies: tuple[CopyStatus, ...] = ()
    unread: tuple[str, ...] = ()
    last = oldest_that_counts(len(parts), limits, clock.now())
    for count in (None,) if everything else (*LOOKED_AT, MOST_LOOKED_AT):
        known = [len(part.entries) for part in parts]
        for part in parts:
            if count == MOST_LOOKED_AT:
                part.reach_back_to(last, count)
            else:
                part.reach(count)
        if count == MOST_LOOKED_AT and known == [len(part.entries) for part in parts]:
            break
        proofs, unread = gather_proofs_of(
            repositories, set().union(*(part.names for part in parts))
        )
        copies = tuple(survey_part(part, codec, proofs, void_through=void) for part in parts)
        if far_enough(copies, limits, clock.now()):
            break
    held = _hold(controls, repositories, clock, limits, service=service, org=org)
    return judge_status(
        copies,
        limits,
        clock.now(),
        source=facts,
        heartbeat=heartbeat,
        unread_proofs=unread,
        also=(held, *also),
        notes=notes,
    )


def hold_controls(
    repositories: Sequence[Repository],
    clock: Clock,
    limits: ControlLimits,
    *,
    service: str,
    org: str,
) -> Finding:
    """The objective of the negative controls alone. Raises nothing of ours."""
    controls = gather_control_runs(repositories)
    return _hold(controls, repositories, clock, limits, service=service, org=org)


def _hold(
    controls: GatheredControls,
    repositories: Sequence[Repository],
    clock: Clock,
    limits: ControlLimits,
    *,
    service: str,
    org: str,
) -> Finding:
    return judge_controls(
        controls.runs,
        [str(problem) for problem in controls.problems],
        clock.now(),
        limits.control_age_seconds,
        initialised=initialised_at(repositories, service, org, clock.now()),
    )


def initialised_at(
    repositories: Sequence[Repository], service: str, org: str, now: datetime
) -> datetime | None:
    """When the oldest of them was made; None when none can tell. A clock that ran ahead tells
    nothing: until then no drill and no control would be due.
    """
    known: list[datetime] = []
    for repository in repositories:
        with suppress(KbDrError):  # survey() says it of the copy
            known.append(check_marker(repository, service=service, org=org).created)
    until = now + timedelta(seconds=CLOCK_SLACK_SECONDS)
    return min((each for each in known if each <= until), default=None)
