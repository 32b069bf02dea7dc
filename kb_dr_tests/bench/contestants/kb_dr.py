"""kb_dr, asked what the others are asked."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from kb_dr_tests.bench.contest import US, Facts
from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.contestants.stored import bytes_below
from kb_dr_tests.bench.site import BUCKET, Site
from kb_dr_tests.bench.usage import clean_environment, run


class KbDr:
    """Our own commands on an installation of their own."""

    def __init__(self, site: Site, store: str, name: str = "contest") -> None:
        self._site = site
        self._store = store
        self._org = f"{name}-kb-dr"
        self._env_file: Path | None = None

    @property
    def facts(self) -> Facts:
        return Facts(
            US,
            version("kb-dr"),
            "zstd level 1, 2 threads",
            "age (X25519, ChaCha20-Poly1305), to a public key: the host of the backup cannot read"
            " it",
            (
                "kb_dr's backup also reads the critical tables twice, for the fingerprint a"
                " restore is held against, and reads back or has the store check the digest of"
                " each stored chunk.",
                "kb_dr's restore checks each file against PostgreSQL's own manifest, replays,"
                " opens and stops the cluster once with fsync on before it hands it over; the"
                " start that is measured for all comes on top.",
                "kb_dr's files are flushed by that PostgreSQL, which syncs the whole data directory"
                " when it begins to recover; unpacking itself flushes nothing, and the start that"
                " is measured, after a clean stop, has nothing to sync.",
                "kb_dr's check of what is stored is `kb-dr validate --deep`: it hashes each object"
                " as it lies there, encrypted, and decrypts and decodes WAL alone. Its proof by"
                " restore is `kb-dr verify`.",
            ),
        )

    def prepare(self) -> None:
        self._env_file = self._site.env_file(self._store, self._org)

    def backup(self) -> Command:
        return self._command("backup", "full", "--json")

    def restore(self, target: Path) -> Command:
        return self._command("restore", "--latest", "--into", str(target), "--json")

    def check(self) -> Command | None:
        newest = json.loads(self._ran("list", "--json"))[0]["id"]
        return self._command("validate", newest, "--deep", "--json")

    def prove(self, target: Path) -> Command:
        # In its own scratch directory.
        return self._command("verify", "latest", "--json")

    def archive_command(self) -> str:
        return self._told("archive-command")

    def restore_command(self) -> str:
        return self._told("restore-command")

    def stored_bytes(self) -> int:
        if self._store == "directory":
            return bytes_below(self._place / "repository")
        return bytes_below(self._site.s3_of(self._store).buckets / BUCKET / self._org)

    def forget(self) -> None:
        self._site.forget(self._store, self._org)

    @property
    def _place(self) -> Path:
        assert self._env_file is not None, "not prepared"
        return self._env_file.parent

    @property
    def _environment(self) -> Mapping[str, str]:
        return self._site.trust

    def _command(self, *words: str) -> Command:
        assert self._env_file is not None, "not prepared"
        return Command(self._site.kb_dr(self._env_file, *words), self._environment)

    def _told(self, what: str) -> str:
        """As an operator is told to set it."""
        return self._ran("wal", what).rstrip("\n")

    def _ran(self, *words: str) -> str:
        command = self._command(*words)
        return run(command.words, env={**clean_environment(), **command.environment}).output
