"""What copies come to on an installation in memory: brought, let go of, aged."""

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.operations.tombstones import read_steps, store_tombstone
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_installation import MadeInstallation

QUIET = SilentProgress()


def let_go(installation: MadeInstallation, stored: StoredManifest, step: PurgeStep) -> None:
    """What retention leaves when it lets go of a backup in the local copy, or takes it back."""
    backup = stored.manifest.backup_id
    older = read_steps(installation.local, backup, "local")
    others = [installation.primary, installation.offsite]
    store_tombstone(
        installation.local, others, installation.clock, backup, step,
        reason="older than every tier", digest=stored.digest, older=older,
    )  # fmt: skip


def bring(installation: MadeInstallation, copy: str) -> list[str]:
    """What `kb-dr copy --to COPY` brings."""
    wanted = installation.lacking(copy).wanted
    for each in wanted:
        installation.copy_backup(each, copy, QUIET)
    return [str(each) for each in wanted]


def bodies(installation: MadeInstallation, copy: str) -> dict[str, bytes]:
    """All a copy holds but its marker and records."""
    return {
        key: body
        for key, body in installation.memory[copy].bodies.items()
        if key.startswith(("full/", "wal/"))
    }


def pass_days(installation: MadeInstallation, days: int) -> None:
    """The clock of the installation and of its stores goes on."""
    installation.clock.sleep(days * 86400.0)


def key_of(memory: MemoryRepository, part: str) -> str:
    """The first key in which these letters stand."""
    return next(key for key in sorted(memory.bodies) if part in key)


def damage(memory: MemoryRepository, part: str, how: bytes | str | None) -> str:
    """Remove an object (None), give it other bytes, or flip its last one; return its key."""
    key = key_of(memory, part)
    if how is None:
        memory.delete(key)
    elif isinstance(how, bytes):
        memory.bodies[key] = how
    else:
        memory.bodies[key] = memory.bodies[key][:-1] + b"?"
    return key
