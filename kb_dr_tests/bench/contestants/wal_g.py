"""WAL-G, where its binary is on PATH: neither Debian nor PyPI has it."""

import secrets
import shlex
from pathlib import Path

from kb_dr_tests.bench.contest import Facts
from kb_dr_tests.bench.contestants.by_hand import BY_HAND, proved_by_hand
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.own_place import OwnPlace
from kb_dr_tests.bench.contestants.stored import recovery_lines
from kb_dr_tests.bench.site import BUCKET, Site
from kb_dr_tests.bench.usage import clean_environment, run

PROGRAM = "wal-g"


class WalG(OwnPlace):
    """Configured by a file of its own, which holds its keys."""

    def __init__(self, site: Site, store: str, name: str = "contest") -> None:
        self._site = site
        self._store = store
        self._prefix = f"{name}-wal-g"
        self._place = site.directory / f"{self._prefix}-{store.replace(' ', '-')}"

    @property
    def facts(self) -> Facts:
        said = run([PROGRAM, "--version"], env=clean_environment()).output.split()
        version = next((word for word in said if word.startswith("v")), " ".join(said))
        return Facts(
            "WAL-G",
            version,
            "zstd, at the level it chooses",
            "libsodium secretstream, one key for both directions",
            (
                "WAL-G's level of zstd cannot be set; it is not level 1.",
                "WAL-G reads the data directory itself, so it must run on the database's host;"
                " PostgreSQL sends nothing, and spends no CPU on it.",
                "WAL-G restores the files; recovery is configured by hand, which a line of shell"
                " does here.",
                "WAL-G cannot check what is stored: its verification looks for gaps in the WAL.",
                BY_HAND,
            ),
        )

    def prepare(self) -> None:
        (self._place / "repository").mkdir(parents=True)
        cluster = self._site.cluster
        lines = {
            "PGHOST": str(cluster.sockets),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
            "WALG_COMPRESSION_METHOD": "zstd",
            "WALG_LIBSODIUM_KEY": secrets.token_hex(32),
            "WALG_LIBSODIUM_KEY_TRANSFORM": "hex",
            "WALG_UPLOAD_CONCURRENCY": "2",
            "WALG_DOWNLOAD_CONCURRENCY": "2",
            "WALG_UPLOAD_DISK_CONCURRENCY": "2",
        }
        if self._store == "directory":
            lines["WALG_FILE_PREFIX"] = str(self._place / "repository")
        else:
            s3 = self._site.s3_of(self._store)
            lines |= {
                "WALG_S3_PREFIX": f"s3://{BUCKET}/{self._prefix}",
                "AWS_ENDPOINT": s3.endpoint_url,
                "AWS_REGION": s3.region,
                "AWS_ACCESS_KEY_ID": s3.access_key_id,
                "AWS_SECRET_ACCESS_KEY": s3.secret_access_key,
                "AWS_S3_FORCE_PATH_STYLE": "true",
            }
            if "SSL_CERT_FILE" in self._site.trust:
                lines["WALG_S3_CA_CERT_FILE"] = self._site.trust["SSL_CERT_FILE"]
        self._configuration.write_text("".join(f"{name}: '{lines[name]}'\n" for name in lines))
        self._configuration.chmod(0o600)
        self._recovery.write_text(recovery_lines(self.restore_command()))

    def backup(self) -> Command:
        return Command(self._words("backup-push", "--full", str(self._site.cluster.data)))

    def restore(self, target: Path) -> Command:
        auto = shlex.quote(str(target / "postgresql.auto.conf"))
        script = (
            f"{shlex.join(self._words('backup-fetch', str(target), 'LATEST'))}"
            f" && cat {shlex.quote(str(self._recovery))} >> {auto}"
            f" && touch {shlex.quote(str(target / 'recovery.signal'))}"
        )
        return Command(["sh", "-c", script])

    def check(self) -> Command | None:
        return None

    def prove(self, target: Path) -> Command:
        return proved_by_hand(self._site, self.restore(target), target)

    def archive_command(self) -> str:
        return f"{shlex.join(self._words('wal-push'))} %p"

    def restore_command(self) -> str:
        return f"{shlex.join(self._words('wal-fetch'))} %f %p"

    @property
    def _configuration(self) -> Path:
        return self._place / "wal-g.yaml"

    @property
    def _recovery(self) -> Path:
        return self._place / "recovery.conf"

    def _words(self, verb: str, *words: str) -> list[str]:
        return [PROGRAM, "--config", str(self._configuration), verb, *words]
