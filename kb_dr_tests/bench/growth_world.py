"""An installation of two copies with a long history, for what is asked of it at growing sizes."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from kb_dr import records
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Proof
from kb_dr.domain.wal_names import Segment, is_segment
from kb_dr.installation import Installation
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_wal import list_wal
from kb_dr.ports import Repository
from kb_dr.sandbox.postgres_binaries import install_postgres
from kb_dr.settings import load_settings
from kb_dr_tests.bench.made_history import CODEC, make_in_directory
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM

COPIES = ("primary", "offsite")

SEGMENTS_A_BACKUP = 4

_RECIPIENT = "age1mphxfhjntzr5symvfkkkdye492fx3f2cllqnpw7w799su7fje9usv7htke"
"""Of an identity that nobody has: nothing is encrypted here, and settings are not whole without."""


@dataclass(frozen=True, slots=True)
class World:
    """Where one made installation is; as much as another process needs to open it."""

    directory: str
    catalog_url: str = ""

    @property
    def place(self) -> Path:
        """Of its copies and all it writes besides."""
        return Path(self.directory)


def settings_of(world: World) -> dict[str, str]:
    """What `kb-dr` would find in its environment."""
    place = world.place
    return {
        "KB_DR_REPOSITORY_URL": str(place / "primary"),
        "KB_DR_OFFSITE_URL": str(place / "offsite"),
        "KB_DR_SCRATCH_DIR": str(place / "scratch"),
        "KB_DR_STATE_DIR": str(place / "state"),
        "KB_DR_CATALOG_URL": world.catalog_url,
        "KB_DR_AGE_RECIPIENTS": _RECIPIENT,
        "KB_DR_POSTGRES_BIN_DIRS": str(install_postgres(16)),
        # Nobody listens there: what asks the source is told so at once.
        "KB_DB_HOST": str(place),
    }


class CountedInstallation(Installation):
    """The real verbs; what they ask of the copies is counted, and nothing is encrypted."""

    def __init__(self, world: World) -> None:
        place = world.place
        super().__init__(load_settings(settings_of(world)))
        self.counted = {
            copy: CountingRepository(DirectoryRepository(place / copy, copy)) for copy in COPIES
        }
        self._repositories.update(self.counted)
        self.known_manifests = KnownEntries()
        self.codec = CODEC

    def calls(self) -> dict[str, int]:
        """What was asked of both copies so far."""
        found: dict[str, int] = {}
        for counted in self.counted.values():
            for what, count in counted.calls.items():
                found[what] = found.get(what, 0) + count
        return found


def make_world(directory: Path, backups: int) -> World:
    """Two copies that hold the same; each backup that is proven is proven from both."""
    primary, offsite = (directory / copy for copy in COPIES)
    make_in_directory(primary, backups, SEGMENTS_A_BACKUP * backups)
    subprocess.run(["cp", "--archive", "--link", primary, offsite], check=True)
    here = DirectoryRepository(primary, "primary")
    for listed in list(here.list(layout.PROOFS)):
        proof = records.from_json(Proof, here.read(listed.key), what=listed.key)
        offsite_too = replace(proof, copy="offsite", url=str(offsite.absolute()))
        key = layout.proof_key(BackupId.parse(proof.backup_id), "offsite", proof.id)
        for root in (primary, offsite):
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(records.to_json(offsite_too))
    return World(str(directory))


def near_the_end(repository: Repository) -> Lsn:
    """An LSN in the newest segment, which is real WAL, as those before it are."""
    names = (stored.name for stored in list_wal(repository, SYSTEM) if is_segment(stored.name))
    return Segment.parse(max(names), SEGMENT_BYTES).start.plus(0x4000)
