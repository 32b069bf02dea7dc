"""PostgreSQL's own textbook commands on a local directory: the limit of WAL, and no peer."""

import shutil
from pathlib import Path

from kb_dr_tests.bench.contest import PLAIN_CP, Facts
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.stored import bytes_below
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.usage import clean_environment, run


class PlainCp:
    """WAL alone: it takes no backup.

    Source: PostgreSQL docs, "Continuous Archiving and Point-in-Time Recovery".
    """

    def __init__(self, site: Site, store: str = "directory", name: str = "contest") -> None:
        assert store == "directory", "cp knows directories only"
        self._place = site.directory / f"{name}-cp"

    @property
    def facts(self) -> Facts:
        said = run(["cp", "--version"], env=clean_environment()).output
        return Facts(
            PLAIN_CP,
            said.splitlines()[0].split()[-1],
            "none",
            "",
            (
                "cp compresses nothing, encrypts nothing, makes and checks no digest, and flushes"
                " nothing to disk: a power cut can lose what it archived.",
            ),
        )

    def prepare(self) -> None:
        self._place.mkdir()

    def backup(self) -> Command:
        raise NotImplementedError("cp takes no backup")

    def restore(self, target: Path) -> Command:
        raise NotImplementedError("cp restores no backup")

    def check(self) -> Command | None:
        return None

    def prove(self, target: Path) -> Command:
        raise NotImplementedError("cp restores no backup")

    def archive_command(self) -> str:
        return f'test ! -f "{self._place}/%f" && cp %p "{self._place}/%f"'

    def restore_command(self) -> str:
        return f'cp "{self._place}/%f" "%p"'

    def stored_bytes(self) -> int:
        return bytes_below(self._place)

    def forget(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
