"""An installation: the verbs, plugged into the adapters its settings name.

The command line and Dagster call the same methods, so that what runs unattended is what a person
can run by hand. Nothing is opened before it is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kb_dr.domain.finding import Finding
from kb_dr.errors import RepositoryError
from kb_dr.installation.evidence import BackupOverview
from kb_dr.installation.loading import Loading
from kb_dr.installation.measuring import Measuring
from kb_dr.installation.proof import Proving
from kb_dr.installation.readiness import Readying
from kb_dr.installation.retention import Retention

if TYPE_CHECKING:
    from kb_dr.domain.status import Status
    from kb_dr.settings import Settings

__all__ = ["BackupOverview", "Installation", "open_installation"]


class Installation(Measuring, Proving, Retention, Readying, Loading):
    """One service under protection, with its repositories and this machine."""

    def status(self, *, everything: bool = False) -> Status:
        """Can we recover now: each copy, the objectives, what a disaster would cost.

        Of each copy the newest backups are looked at, as many as that takes; all with
        ``everything``.
        """
        also = [self._drills(), *self.locks()]
        if (cut_off := self._replacement_cut_off()) is not None:
            also.append(cut_off)
        status = self._take_status(self._to_be_looked_at(), also, everything=everything)
        return replace(
            status, notes=(*status.notes, *self.room_notes(status), *self.dump_notes(status))
        )

    def _drills(self) -> Finding:
        from kb_dr.domain.proof import Outcome

        try:
            return self.drills_held(young=True)
        except RepositoryError as error:
            # It may be the record of one that was not passed.
            return Finding("recovery drill", Outcome.COULD_NOT_RUN, str(error), error.hint)

    def diagnose(self) -> tuple[Finding, ...]:
        """Every setting and dependency, tested."""
        from kb_dr.operations.diagnose import diagnose

        cut_off = self._replacement_cut_off()
        first = () if cut_off is None else (cut_off,)
        return (*first, *diagnose(self), *self.check_channels(), self.pings_configured())

    def _replacement_cut_off(self) -> Finding | None:
        """What a replacement of the service's directory left, while it is there."""
        from kb_dr.domain.proof import Outcome

        target = self.settings.source.data_directory
        found = None if target is None else self.unfinished_replacement(target)
        if found is None:
            return None
        return Finding(
            "replacement",
            Outcome.FAILED,
            f"a replacement of {target} is at work, or was cut off at: {found.step}",
            f"If none is at work: kb-dr restore --into {target} --roll-back --yes",
        )


def open_installation(settings: Settings) -> Installation:
    """The installation these settings describe."""
    return Installation(settings)
