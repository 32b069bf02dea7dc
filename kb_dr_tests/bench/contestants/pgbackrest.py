"""pgBackRest, configured as its user guide recommends for two cores."""

import secrets
import shlex
from pathlib import Path

from kb_dr_tests.bench.contest import Facts
from kb_dr_tests.bench.contestants.by_hand import BY_HAND, proved_by_hand
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.own_place import OwnPlace
from kb_dr_tests.bench.s3_servers import HOST
from kb_dr_tests.bench.site import BUCKET, OVER_TLS, Site
from kb_dr_tests.bench.usage import clean_environment, run

_STANZA = "bench"


class PgBackRest(OwnPlace):
    """On a directory, or on S3 over TLS: its S3 client knows nothing else."""

    def __init__(
        self, site: Site, store: str, name: str = "contest", *, asynchronous: bool = True
    ) -> None:
        assert store in {"directory", OVER_TLS}, "pgBackRest speaks to S3 over TLS only"
        self._site = site
        self._store = store
        self._asynchronous = asynchronous
        self._prefix = f"{name}-pgbackrest"
        self._place = site.directory / f"{self._prefix}-{store.replace(' ', '-')}"

    @property
    def facts(self) -> Facts:
        said = run(["pgbackrest", "version"], env=clean_environment()).output
        return Facts(
            "pgBackRest" if self._asynchronous else "pgBackRest, one by one",
            said.split()[-1],
            "zstd level 1, 2 processes",
            "AES-256-CBC, one passphrase for both directions",
            (
                "pgBackRest's repository can be read by whoever can write it: its key is"
                " symmetric.",
                "pgBackRest reads the data directory itself, so it must run on the database's"
                " host; PostgreSQL sends nothing, and spends no CPU on it.",
                "pgBackRest checks page checksums while it backs up; kb_dr does so when it proves.",
                "pgBackRest's restore syncs each file and directory it writes; its server replays"
                " to the end of the backup only.",
                "pgBackRest archives asynchronously: it answers for segments it has pushed ahead."
                if self._asynchronous
                else "archive-async=n: pgBackRest pushes and fetches each segment at its turn.",
                "pgBackRest's check of what is stored, `verify`, decrypts and decompresses each"
                " file and WAL segment and compares its checksum; 2.45 exits 0 also when it has"
                " found damage, so its output is read.",
                BY_HAND,
            ),
        )

    def prepare(self) -> None:
        for name in ("repository", "lock", "spool"):
            (self._place / name).mkdir(parents=True)
        cluster = self._site.cluster
        lines = [
            "[global]",
            *self._repository_lines(),
            "repo1-cipher-type=aes-256-cbc",
            f"repo1-cipher-pass={secrets.token_urlsafe(32)}",
            "compress-type=zst",
            "compress-level=1",
            "process-max=2",
            "start-fast=y",
            f"archive-async={'y' if self._asynchronous else 'n'}",
            f"spool-path={self._place / 'spool'}",
            f"lock-path={self._place / 'lock'}",
            "log-level-file=off",
            "log-level-console=off",
            "log-level-stderr=error",
            f"[{_STANZA}]",
            f"pg1-path={cluster.data}",
            f"pg1-socket-path={cluster.sockets}",
            "pg1-user=postgres",
        ]
        self._configuration.write_text("\n".join(lines) + "\n")
        self._configuration.chmod(0o600)
        run(self._words("stanza-create"), env=clean_environment())

    def backup(self) -> Command:
        return Command(self._words("backup", "--type=full"))

    def restore(self, target: Path) -> Command:
        return Command(
            self._words(
                "restore",
                f"--pg1-path={target}",
                "--type=immediate",
                "--target-action=promote",
                "--archive-mode=off",
            )
        )

    def check(self) -> Command | None:
        # It exits 0 also when it has found damage, and says nothing when it has not.
        verify = shlex.join(self._words("verify", "--output=text"))
        return Command(["sh", "-c", f'said=$({verify}) && test -z "$said"'])

    def prove(self, target: Path) -> Command:
        return proved_by_hand(self._site, self.restore(target), target)

    def archive_command(self) -> str:
        return f"{shlex.join(self._words('archive-push'))} %p"

    def restore_command(self) -> str:
        # It wants to be told the directory it runs in, whichever that is.
        return f'{shlex.join(self._words("archive-get"))} --pg1-path="$PWD" %f "%p"'

    @property
    def _configuration(self) -> Path:
        return self._place / "pgbackrest.conf"

    def _repository_lines(self) -> list[str]:
        if self._store == "directory":
            return [f"repo1-path={self._place / 'repository'}"]
        s3 = self._site.s3_of(self._store)
        return [
            "repo1-type=s3",
            f"repo1-path=/{self._prefix}",
            f"repo1-s3-bucket={BUCKET}",
            f"repo1-s3-endpoint={HOST}",
            f"repo1-s3-region={s3.region}",
            f"repo1-s3-key={s3.access_key_id}",
            f"repo1-s3-key-secret={s3.secret_access_key}",
            "repo1-s3-uri-style=path",
            f"repo1-storage-port={s3.port}",
            f"repo1-storage-ca-file={self._site.trust['SSL_CERT_FILE']}",
        ]

    def _words(self, verb: str, *options: str) -> list[str]:
        return [
            "pgbackrest", f"--config={self._configuration}", f"--stanza={_STANZA}", *options, verb
        ]  # fmt: skip
