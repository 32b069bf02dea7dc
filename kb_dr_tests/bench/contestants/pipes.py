"""What an engineer types without any tool for it: pg_basebackup, zstd and age in a pipe."""

import shlex
import sys
from pathlib import Path

from kb_dr_tests.bench.contest import Facts
from kb_dr_tests.bench.contestants.by_hand import BY_HAND, proved_by_hand
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.own_place import OwnPlace
from kb_dr_tests.bench.site import BUCKET, OVER_TLS, Site
from kb_dr_tests.bench.usage import clean_environment, run

_RCLONE = Path(sys.executable).with_name("rclone")
_BASE = "base.tar.zst.age"


class Pipes(OwnPlace):
    """Standard programs, into a file or through rclone."""

    def __init__(self, site: Site, store: str, name: str = "contest") -> None:
        self._site = site
        self._store = store
        self._prefix = f"{name}-pipes"
        self._place = site.directory / f"{self._prefix}-{store.replace(' ', '-')}"

    @property
    def facts(self) -> Facts:
        said = [
            run([program, "--version"], env=clean_environment()).output.split()
            for program in ("zstd", "age")
        ]
        zstd = next(word for word in said[0] if word[0] == "v" and word[1:2].isdigit())
        return Facts(
            "plain pipes",
            f"pg_basebackup {self._site.cluster.programs.major}, zstd {zstd.strip(',v')},"
            f" age {said[1][0]}",
            "zstd level 1, 2 threads",
            "age (X25519, ChaCha20-Poly1305), to a public key",
            (
                "The pipes keep one file a backup: no manifest, no catalog, no retention, no"
                " second try, no lock, no resumption; what was stored is not looked at.",
                "The pipes take the WAL of the backup into the same file and do not wait for the"
                " archive; their restore ends at the end of the backup.",
                "The pipes flush nothing they write; PostgreSQL does when it recovers.",
                "The pipes' check of what is stored decrypts and decompresses, which authenticates"
                " each block.",
                BY_HAND,
                "The pipes send to S3 by rclone (rcat: parts of 5 MiB, 4 at once).",
            ),
        )

    def prepare(self) -> None:
        (self._place / "repository").mkdir(parents=True)
        if self._store == "directory":
            return
        s3 = self._site.s3_of(self._store)
        self._configuration.write_text(
            "[bench]\ntype = s3\nprovider = Rclone\nforce_path_style = true\n"
            f"no_check_bucket = true\nendpoint = {s3.endpoint_url}\nregion = {s3.region}\n"
            f"access_key_id = {s3.access_key_id}\nsecret_access_key = {s3.secret_access_key}\n"
        )
        self._configuration.chmod(0o600)

    def backup(self) -> Command:
        cluster = self._site.cluster
        libraries = cluster.programs.environment().get("LD_LIBRARY_PATH", "")
        read = shlex.join(
            [
                *("env", f"LD_LIBRARY_PATH={libraries}"),
                *(str(cluster.programs.path("pg_basebackup")), "--dbname", cluster.conninfo()),
                *("--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"),
            ]
        )
        return self._shell(f"{read} | zstd -1 -T2 | {self._encrypt} | {self._write(_BASE)}")

    def restore(self, target: Path) -> Command:
        # Its WAL lies in pg_wal: nothing need be configured.
        unpack = f"tar --extract --no-same-owner --directory={shlex.quote(str(target))}"
        return self._shell(f"{self._read(_BASE)} | {self._decrypt} | zstd -d | {unpack}")

    def check(self) -> Command | None:
        return self._shell(f"{self._read(_BASE)} | {self._decrypt} | zstd -t")

    def prove(self, target: Path) -> Command:
        return proved_by_hand(self._site, self.restore(target), target)

    def archive_command(self) -> str:
        script = f"zstd -1 -c %p | {self._encrypt} | {self._write_wal}"
        return shlex.join(["bash", "-o", "pipefail", "-c", script])

    def restore_command(self) -> str:
        script = f"{self._read_wal} | {self._decrypt} | zstd -d > %p"
        return shlex.join(["bash", "-o", "pipefail", "-c", script])

    @property
    def _configuration(self) -> Path:
        return self._place / "rclone.conf"

    @property
    def _encrypt(self) -> str:
        return f"age -r {self._site.recipient}"

    @property
    def _decrypt(self) -> str:
        return f"age -d -i {shlex.quote(str(self._site.identity_file))}"

    @property
    def _write_wal(self) -> str:
        if self._store != "directory":
            return self._write("%f")
        # Under another name first: a half-written segment must not look like one.
        return f"cat > {self._path('%f.part')} && mv {self._path('%f.part')} {self._path('%f')}"

    @property
    def _read_wal(self) -> str:
        return self._read("%f")

    def _write(self, name: str) -> str:
        if self._store == "directory":
            return f"cat > {self._path(name)}"
        return f"{self._rclone} rcat bench:{BUCKET}/{self._prefix}/{name}"

    def _read(self, name: str) -> str:
        if self._store == "directory":
            return f"cat {self._path(name)}"
        return f"{self._rclone} cat bench:{BUCKET}/{self._prefix}/{name}"

    @property
    def _rclone(self) -> str:
        words = [str(_RCLONE), "--config", str(self._configuration)]
        if self._store == OVER_TLS:
            words += ["--ca-cert", self._site.trust["SSL_CERT_FILE"]]
        return shlex.join(words)

    def _path(self, name: str) -> str:
        return shlex.quote(str(self._place / "repository" / name))

    def _shell(self, script: str) -> Command:
        return Command(["bash", "-o", "pipefail", "-c", script])
