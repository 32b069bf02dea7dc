"""Which repositories hold one and the same backup, nearest first."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.errors import KbDrError, NoUsableBackup, ObjectConflict, RepositoryError
from kb_dr.operations.catalog import read_manifest_body
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A backup, and every repository asked that holds this very manifest."""

    stored: StoredManifest
    body: bytes
    """The manifest's very bytes, the same in each."""
    holders: tuple[Repository, ...]
    """Never empty."""
    troubles: tuple[str, ...]
    """Why others could not be asked, or read."""

    @property
    def manifest(self) -> Manifest:
        """What it consists of."""
        return self.stored.manifest


def find_holders(repositories: Sequence[Repository], backup: BackupId) -> Held:
    """Read the backup's manifest in each; those that lack it or cannot be read are passed over.

    Raises ObjectConflict when two hold different manifests under this id: nobody can tell which
    of them is right. When none holds it, what the first one that could not be asked or read
    raised, else NoUsableBackup.
    """
    found: list[tuple[Repository, StoredManifest, bytes]] = []
    absent: list[KbDrError] = []
    failures: list[RepositoryError] = []
    for repository in repositories:
        try:
            stored, body = read_manifest_body(repository, backup)
        except NoUsableBackup as error:
            absent.append(error)
        except RepositoryError as error:
            logger.warning("look for %s in %s: %s", backup, repository.name, error)
            failures.append(error)
        else:
            found.append((repository, stored, body))
    if not found:
        raise (*failures, *absent)[0]
    _, stored, body = found[0]
    others = [
        f"{at.name} has {each.digest}" for at, each, _ in found if each.digest != stored.digest
    ]
    if others:
        raise ObjectConflict(
            f"read {backup}: its manifests differ: {found[0][0].name} has {stored.digest}, "
            + ", ".join(others),
            hint="Two repositories were mixed, or one manifest is damaged: `kb-dr validate` "
            "each copy, and look at both manifests before anything is removed.",
        )
    return Held(stored, body, tuple(at for at, _, _ in found), tuple(map(str, failures)))
