"""barman-cloud: Barman's commands that keep backups and WAL in an object store, alone."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from kb_dr_tests.bench.contest import Facts
from kb_dr_tests.bench.contestants.by_hand import BY_HAND, proved_by_hand
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.stored import bytes_below, recovery_lines
from kb_dr_tests.bench.site import BUCKET, Site

_INSTALLED = Path(sys.prefix) / "barman"
"""Where scripts/install-bench-programs puts it."""
_SERVER = "bench"
_PROFILE = "bench"


def version() -> str | None:
    """Of barman; None where it is not installed."""
    found = distributions(path=[str(_INSTALLED)])
    return next((each.version for each in found if each.metadata["Name"] == "barman"), None)


class BarmanCloud:
    """On S3 only; over TLS, too."""

    def __init__(self, site: Site, store: str, name: str = "contest") -> None:
        assert store.startswith("S3"), "barman-cloud keeps backups in object stores only"
        self._site = site
        self._store = store
        self._prefix = f"{name}-barman"
        self._place = site.directory / f"{self._prefix}-{store.replace(' ', '-')}"

    @property
    def facts(self) -> Facts:
        return Facts(
            "barman-cloud",
            version() or "unknown",
            "lz4 for backups (it has no zstd there), zstd level 1 for WAL",
            "",
            (
                "barman-cloud encrypts nothing itself, and keeps no checksum of its own; that which"
                " its client would send along is off, as the S3 server does not take it.",
                "barman-cloud reads the data directory itself, so it must run on the database's"
                " host; PostgreSQL sends nothing, and spends no CPU on it.",
                "barman-cloud does not wait until the WAL of a backup is in the archive.",
                "barman-cloud restores the files; recovery is configured by hand, which a line of"
                " shell does here. It flushes nothing; PostgreSQL does when it recovers.",
                "barman-cloud cannot check what is stored without restoring it.",
                BY_HAND,
            ),
        )

    def prepare(self) -> None:
        self._place.mkdir()
        s3 = self._site.s3_of(self._store)
        self._credentials.write_text(
            f"[{_PROFILE}]\naws_access_key_id = {s3.access_key_id}\n"
            f"aws_secret_access_key = {s3.secret_access_key}\nregion = {s3.region}\n"
        )
        self._credentials.chmod(0o600)
        self._recovery.write_text(recovery_lines(self.restore_command()))

    def backup(self) -> Command:
        words = self._words(
            "backup", "--lz4", "--immediate-checkpoint", "--jobs", "2",
            "--host", str(self._site.cluster.sockets), "--user", "postgres",
        )  # fmt: skip
        return Command([*words, *self._where], self._environment)

    def restore(self, target: Path) -> Command:
        fetch = [*self._words("restore"), *self._where, "latest", str(target)]
        auto = shlex.quote(str(target / "postgresql.auto.conf"))
        script = (
            f"{shlex.join(fetch)} && cat {shlex.quote(str(self._recovery))} >> {auto}"
            f" && touch {shlex.quote(str(target / 'recovery.signal'))}"
        )
        return Command(["sh", "-c", script], self._environment)

    def check(self) -> Command | None:
        return None

    def prove(self, target: Path) -> Command:
        return proved_by_hand(self._site, self.restore(target), target)

    def archive_command(self) -> str:
        words = self._words("wal-archive", "--zstd", "--compression-level", "1")
        return f"{self._as_shell(words)} %p"

    def restore_command(self) -> str:
        return f"{self._as_shell(self._words('wal-restore'))} %f %p"

    def stored_bytes(self) -> int:
        return bytes_below(self._bucket)

    def forget(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.rmtree(self._bucket, ignore_errors=True)

    @property
    def _bucket(self) -> Path:
        return self._site.s3_of(self._store).buckets / BUCKET / self._prefix

    @property
    def _credentials(self) -> Path:
        return self._place / "credentials"

    @property
    def _recovery(self) -> Path:
        return self._place / "recovery.conf"

    @property
    def _where(self) -> list[str]:
        return [f"s3://{BUCKET}/{self._prefix}", _SERVER]

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            "PYTHONPATH": str(_INSTALLED),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._credentials),
            # rclone's server takes no body whose checksum follows it.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            **self._site.trust,
        }

    def _words(self, verb: str, *options: str) -> list[str]:
        s3 = self._site.s3_of(self._store)
        return [
            str(_INSTALLED / "bin" / f"barman-cloud-{verb}"),
            *("--endpoint-url", s3.endpoint_url, "--addressing-style", "path"),
            *("--profile", _PROFILE),
            *options,
        ]

    def _as_shell(self, words: list[str]) -> str:
        given = [f"{name}={value}" for name, value in self._environment.items()]
        return shlex.join(["env", *given, *words, *self._where])
