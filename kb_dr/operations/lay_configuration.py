"""Lay configuration files where an operator finds them."""

import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from kb_dr.errors import UnreadableRecord


def lay_configuration(packed: bytes, place: Path) -> None:
    """Unpack a tar of plain files into the new directory ``place``, readable by its owner alone.

    Raises UnreadableRecord for a member that is no plain file below ``place``, tarfile.TarError
    for what is no tar. (tarfile's own filters came with Python 3.11.4.)
    """
    place.mkdir(mode=0o700)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            _lay(place, member.name, tar.extractfile(member) if member.isfile() else None)


def _lay(place: Path, name: str, content: IO[bytes] | None) -> None:
    parts = PurePosixPath(name).parts
    if content is None or not parts or parts[0] == "/" or ".." in parts:
        raise UnreadableRecord(f"unpack configuration file {name!r}: not a file below {place}")
    path = place.joinpath(*parts)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content.read())
    path.chmod(0o600)
