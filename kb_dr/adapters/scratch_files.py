"""The files of a restored cluster that are its host's own: configuration and signals."""

import os
import re
from collections.abc import Sequence

from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.recovery import ServerConfiguration, WorkArea

_AUTO = "postgresql.auto.conf"
_HBA = "local all all trust\n"
"""Only who may enter the private directory of the socket gets this far."""

_MINIMAL = {
    "postgresql.conf": "# Written by kb-dr: the backup held no postgresql.conf.\n",
    "pg_hba.conf": "# Written by kb-dr: the backup held no pg_hba.conf.\n"
    "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n",
    "pg_ident.conf": "",
}


def set_aside(area: WorkArea) -> None:
    """Take away what the source told its server to do.

    PostgreSQL reads postgresql.auto.conf whatever config_file says; it may name libraries, archive
    commands and primaries of production.
    """
    kept = area.root / "source.auto.conf"
    auto = area.data / _AUTO
    if auto.exists():
        if kept.exists():
            auto.unlink()
        else:
            auto.rename(kept)
    for name in ("standby.signal", "recovery.signal"):
        (area.data / name).unlink(missing_ok=True)


def configure(
    area: WorkArea, configuration: ServerConfiguration, unprivileged: Unprivileged
) -> None:
    """Write what the server is started with, outside its data directory but for the signal."""
    settings = {
        **configuration.settings,
        "unix_socket_directories": str(area.sockets),
        "hba_file": str(area.root / "pg_hba.conf"),
        "ident_file": str(area.root / "pg_ident.conf"),
    }
    lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
    files = {
        area.root / "postgresql.conf": lines,
        area.root / "pg_hba.conf": _HBA,
        area.root / "pg_ident.conf": "",
    }
    if configuration.recover:
        files[area.data / "recovery.signal"] = ""
    for path, content in files.items():
        path.write_text(content)
        path.chmod(0o600)
        unprivileged.give(path)


def settle_files(area: WorkArea, lines: Sequence[str], unprivileged: Unprivileged) -> None:
    """Leave the data directory as one that starts without us; see `PostgresHost.settle`."""
    auto = area.data / _AUTO
    kept = area.root / "source.auto.conf"
    text = kept.read_text() if kept.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    auto.write_text(text + "".join(f"{line}\n" for line in lines))
    auto.chmod(0o600)
    unprivileged.give(auto)
    for name in ("backup_label.old", "backup_manifest", "tablespace_map.old"):
        (area.data / name).unlink(missing_ok=True)
    if not (area.data / "postgresql.conf").exists():
        # Debian keeps the configuration elsewhere; without any the cluster would not start.
        for name, content in _MINIMAL.items():
            path = area.data / name
            if not path.exists():
                path.write_text(content)
                path.chmod(0o600)
                unprivileged.give(path)
    with auto.open("rb") as file:
        os.fsync(file.fileno())


def _quoted(value: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\1\1", value) + "'"
