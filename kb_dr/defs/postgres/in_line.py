"""What a look found in line, so that the next tick looks again only at what changed since.

A look at one backup asks Dagster's database ten times and each copy twice. What it depends on is
told by a few listings and queries for all backups together; while that is the same, so is the look.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.judgement import Holdings
from kb_dr.domain.manifest import StoredManifest
from kb_dr.installation import Installation

BELIEVED_SECONDS = 900.0
"""Records are never rewritten, but they rot: each backup is looked at again after a while."""


class Signs:
    """All that report_backup() goes by, of every backup, as it is when this is made.

    Made before the looks: what changes during one shows as another sign in the next tick.
    Raises what listing the proofs raises.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        installation: Installation,
        holdings: Holdings,
        shown: Mapping[str, bool],
    ) -> None:
        self._holdings = holdings
        self._shown = shown
        self._proofs = installation.proofs_listed()
        self._made = ledger.newest_ids(instance, keys.BACKUP)
        self._observed = ledger.newest_ids(instance, keys.BACKUP, observations=True)
        self._others = [
            ledger.newest_ids(instance, key) for key in (*keys.COPIES.values(), keys.RESTORE_PROOF)
        ]
        self._all = (
            ledger.storage_of(instance),
            [(copy, installation.repository(copy).url) for copy in installation.copies],
            installation.copy_that_counts,
            repr(holdings.void_through),
            holdings.why_void,
            holdings.untold,
        )

    def of(self, backup: str) -> str:
        """The same for as long as a look at this backup would come to the same."""
        holdings = self._holdings
        parents = {
            (each.manifest.id, each.digest)
            for copy in holdings.chains
            for each in holdings.parents(backup, copy)
        }
        told = (
            self._all,
            [
                (copy, entry.digest if isinstance(entry, StoredManifest) else entry.why)
                for copy, entry in sorted(holdings.entries.get(backup, {}).items())
            ],
            [(copy, each.broken.get(backup)) for copy, each in sorted(holdings.chains.items())],
            self._proofs.get(backup),
            [(*each, self._proofs.get(each[0])) for each in sorted(parents)],
            sorted(holdings.children.get(backup, ())),
            holdings.holds.get(backup),
            self._shown.get(backup),
            self._made.get(backup),
            self._observed.get(backup),
            [ids.get(backup) for ids in self._others],
        )
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def is_whole(self, backup: str) -> bool:
        """Whether the page lacks nothing that a look may have been unable to tell."""
        return self._observed.get(backup, 0) >= self._made.get(backup, 0)


@dataclass(slots=True)
class InLine:
    """Of this process: the signs under which a look at each backup found nothing to change."""

    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def knows(self, backup: str, sign: str, now_seconds: float) -> bool:
        """Whether it was looked at lately, and is as it was then."""
        seen, at = self._seen.get(backup, ("", 0.0))
        return seen == sign and 0 <= now_seconds - at < BELIEVED_SECONDS

    def remember(self, signs: Mapping[str, str], now_seconds: float) -> None:
        """These were looked at, and nothing had to be changed."""
        self._seen.update({backup: (sign, now_seconds) for backup, sign in signs.items()})

    def forget_all_but(self, backups: Collection[str]) -> None:
        """What is no more needs no room."""
        for gone in self._seen.keys() - set(backups):
            del self._seen[gone]
