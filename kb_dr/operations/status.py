"""Can we recover now?"""

from collections.abc import Sequence
from contextlib import suppress

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.objective import Limits, judge_status
from kb_dr.domain.proof import Proof
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import Status
from kb_dr.errors import KbDrError, RepositoryError, UnreadableRecord
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.proofs import load_proofs
from kb_dr.operations.survey import Proofs, survey
from kb_dr.ports import Clock, Codec, Repository, SourceServer


def take_status(
    repositories: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    limits: Limits,
    *,
    service: str,
    org: str,
    source: SourceServer | None = None,
    heartbeat: bool = False,
) -> Status:
    """Look at every copy that is configured, and hold what is seen against the objectives.

    Raises nothing of ours: a copy that cannot be read breaks objectives, a source that cannot be
    reached only takes away what it could have said in our favour.
    """
    facts: SourceFacts | None = None
    notes: list[str] = []
    if source is not None:
        try:
            facts = source.facts()
        except KbDrError as error:
            notes.append(f"the source does not answer: {error}")
    proofs, unread = gather_proofs(repositories)
    copies = tuple(
        survey(repository, codec, proofs, service=service, org=org) for repository in repositories
    )
    return judge_status(
        copies,
        limits,
        clock.now(),
        source=facts,
        heartbeat=heartbeat,
        unread_proofs=unread,
        notes=notes,
    )


def gather_proofs(repositories: Sequence[Repository]) -> tuple[Proofs, tuple[str, ...]]:
    """All proofs of all backups, wherever they are kept, and why some may be missing."""
    found: dict[str, dict[str, Proof]] = {}
    missing: list[str] = []
    names: set[BackupId] = set()
    for repository in repositories:
        with suppress(KbDrError):  # survey() says it of the copy
            names |= {each.manifest.backup_id for each in readable(load_catalog(repository))}
    for repository in repositories:
        for name in sorted(names):
            known = found.setdefault(str(name), {})
            try:
                known.update((proof.id, proof) for proof in load_proofs(repository, name))
            except UnreadableRecord as error:
                missing.append(f"{repository.name}: {error}")
            except RepositoryError as error:
                missing.append(f"{repository.name}: {error}")
                break  # it is down: the next ones would only take as long to say the same
    return {name: tuple(known.values()) for name, known in found.items()}, tuple(missing)
