"""What every proof works with, and what it has seen so far."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kb_dr import __version__
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Check, Reach
from kb_dr.domain.recovery import RecoveryPlan, WorkArea
from kb_dr.errors import NotEnoughSpace
from kb_dr.operations.phases import Phases
from kb_dr.ports import (
    Codec,
    DatabaseServer,
    DumpLoader,
    PostgresHost,
    Progress,
    Repository,
    RestoredServer,
    ScratchSpace,
    ServerInspector,
)


@dataclass(slots=True)
class Evidence:
    """What is known so far; it survives the error that ends a proof."""

    phases: Phases
    digest: str | None = None
    chain: tuple[StoredManifest, ...] = ()
    checks: list[Check] = field(default_factory=list)
    reach: Reach | None = None
    tools: dict[str, str] = field(default_factory=lambda: {"kb-dr": __version__})


@dataclass(frozen=True, slots=True)
class Loading:
    """What dumps are loaded with."""

    loader: Callable[[RestoredServer], DumpLoader]
    """pg_restore and psql, against a scratch server."""
    server: Callable[[RestoredServer], DatabaseServer]
    jobs: int
    """How much is loaded at once."""


@dataclass(frozen=True, slots=True)
class ProofRun:
    """One proof under way."""

    repository: Repository
    codec: Codec
    host: PostgresHost
    scratch: ScratchSpace
    inspector: ServerInspector
    progress: Progress
    evidence: Evidence
    planned: Callable[[StoredManifest], RecoveryPlan]
    loading: Loading | None

    def require_room(self, manifest: Manifest, area: WorkArea, needed: int) -> None:
        """Raise NotEnoughSpace unless so many bytes are free where the area is."""
        free = self.host.free_bytes(area.root)
        if free < needed:
            raise NotEnoughSpace(
                f"verify {manifest.id} in {area.root}: {free} bytes are free, expected {needed}",
                hint="Make room, or point KB_DR_SCRATCH_DIR at another file system.",
            )
