"""A full base backup as one stream, asked for over the replication protocol.

As pg_basebackup asks, with two differences. It cannot send extra tablespaces to a pipe (it would
want room for the whole cluster in files): here the archives are joined while they pass. And it
stands between the server and us, with a pipe that costs more CPU than all that is done here, and
a wait for the server's archiver, which `kb_dr.operations.await_wal` does better. Source:
PostgreSQL docs, "Streaming Replication Protocol", BASE_BACKUP, of versions 14 (one copy an
archive) and 15 (one copy, tagged messages).
"""

import hashlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import zstandard
from psycopg import OperationalError, pq
from psycopg.conninfo import make_conninfo

from kb_dr.adapters.await_backup import Patience
from kb_dr.adapters.backup_manifest import BackupManifestReader
from kb_dr.adapters.merged_tar import MergedTar, end_of_tar, last_member
from kb_dr.adapters.postgres_programs import last_words
from kb_dr.adapters.postgres_session import connection_words, translated
from kb_dr.adapters.read_ahead import BackupReadAhead, read_ahead
from kb_dr.adapters.tar_index import TarDamaged
from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import WalPosition
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import PostgresCommandFailed, PostgresError, PostgresUnavailable
from kb_dr.settings import SourceSettings

_WHAT = "take a base backup"
_PIECE_BYTES = 1024 * 1024
_MANIFEST = "backup_manifest"
_TAGGED_SINCE = 150000
_HINT = "Check that the server still runs, and the role's REPLICATION right."


@contextmanager
def replicated(
    source: SourceSettings, label: str, tablespaces: Sequence[Tablespace], patience: Patience
) -> "Iterator[BackupReadAhead]":
    """Run one base backup; its connection is gone when the block is left."""
    words = connection_words(source) | {"replication": "true", "application_name": "kb-dr"}
    if source.password:
        words["password"] = source.password.reveal()
    with translated(_WHAT, source):
        connection = pq.PGconn.connect(make_conninfo(**words).encode())  # type: ignore[arg-type]  # libpq's words, not psycopg's own
    try:
        if connection.status != pq.ConnStatus.OK:
            raise PostgresUnavailable(
                f"{_WHAT} on {source.host}:{source.port}: {last_words(connection.error_message)}",
                hint=_HINT,
            )
        backup = ReplicationBackup(connection, source, label, tablespaces, patience)
        with read_ahead(backup, backup.break_off) as stream:
            yield stream
    finally:
        connection.finish()


class ReplicationBackup:
    """Implements `kb_dr.ports.BaseBackupStream`."""

    def __init__(
        self,
        connection: pq.abc.PGconn,
        source: SourceSettings,
        label: str,
        tablespaces: Sequence[Tablespace],
        patience: Patience,
    ) -> None:
        self._connection = connection
        self._source = source
        self._patience = patience
        self._said: deque[bytes] = deque(maxlen=20)
        self._digest = hashlib.sha256()
        self._length = 0
        self._rest: bytes | memoryview = b""
        """Of a piece that was longer than what was asked for."""
        self._expected = {each.oid: each.location for each in tablespaces}
        self._merged = MergedTar(sorted(self._expected))
        self._manifest = BackupManifestReader()
        self._manifest_bytes = 0
        self._in_manifest = False
        self._stop: Lsn | None = None
        self._position: WalPosition | None = None
        self._manifest_zst = b""
        connection.notice_handler = self._listen
        self._pieces = self._make_tar(_command(connection.server_version, label))

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises PostgresUnavailable or WalGap when the server stalls."""
        missing = _PIECE_BYTES if size < 0 else min(size, _PIECE_BYTES)
        pieces: list[bytes | memoryview] = []
        try:
            with translated(_WHAT, self._source):
                while missing and (piece := self._rest or next(self._pieces, None)) is not None:
                    pieces.append(piece[:missing])
                    self._rest = piece[missing:]
                    missing -= len(pieces[-1])
        except TarDamaged as error:
            raise PostgresCommandFailed(f"{_WHAT}: {error}") from error
        data = b"".join(pieces)  # the one copy that is made of it
        self._digest.update(data)
        self._length += len(data)
        return data

    def finish(self) -> BaseBackupEnd:
        if self._position is None or self._rest:
            raise PostgresCommandFailed(f"{_WHAT}: it was not read to the end")
        return BaseBackupEnd(
            self._position, self._length, self._digest.hexdigest(), self._manifest_zst
        )

    def break_off(self) -> None:
        """End a read that another thread is in: it fails at once."""
        with (
            # The server ended the connection already, and libpq may have let go of it.
            suppress(OSError, OperationalError),
            socket.socket(fileno=os.dup(self._connection.socket)) as shared,
        ):
            shared.shutdown(socket.SHUT_RDWR)

    def _make_tar(self, command: bytes) -> Iterator[bytes | memoryview]:
        """The pieces of the tar. What the server says at its end is heard before ours ends."""
        self._connection.send_query(command)
        self._result(pq.ExecStatus.TUPLES_OK)
        listed = self._result(pq.ExecStatus.TUPLES_OK)
        oids = self._compare(listed)
        if self._connection.server_version >= _TAGGED_SINCE:
            yield from self._read_tagged()
        else:
            for oid in oids:
                self._result(pq.ExecStatus.COPY_OUT)
                yield self._merged.begin(oid)
                for data in self._copied():
                    yield from self._merged.feed(data)
                self._merged.end()
            self._result(pq.ExecStatus.COPY_OUT)
            for data in self._copied():
                self._note_manifest(bytes(data))
        ended = self._result(pq.ExecStatus.TUPLES_OK)
        self._result(pq.ExecStatus.COMMAND_OK)
        yield self._merged.close()
        yield from self._add_manifest(Lsn.parse(_text(ended.get_value(0, 0))))

    def _read_tagged(self) -> Iterator[bytes | memoryview]:
        self._result(pq.ExecStatus.COPY_OUT)
        began = False
        for message in self._copied():
            kind = bytes(message[:1])
            if kind == b"d":
                if self._in_manifest:
                    self._note_manifest(bytes(message[1:]))
                else:
                    yield from self._merged.feed(message[1:])
            elif kind in (b"n", b"m"):
                if began:
                    self._merged.end()
                self._in_manifest = kind == b"m"
                began = not self._in_manifest
                if began:
                    yield self._merged.begin(_archive_of(bytes(message)))
            elif kind != b"p":
                raise TarDamaged(f"a message of kind {kind!r}")

    def _compare(self, listed: pq.abc.PGresult) -> list[int | None]:
        """What the server is about to send, against what it had when it was asked before."""
        found = [listed.get_value(row, 0) for row in range(listed.ntuples)]
        oids = [None if oid is None else int(oid) for oid in found]
        if set(oids) != {None, *self._expected}:
            raise PostgresError(
                f"{_WHAT}: tablespaces {sorted(oid for oid in oids if oid is not None)}, expected "
                f"{sorted(self._expected)}",
                hint="One was created or dropped just now; start the backup again.",
            )
        return oids

    def _copied(self) -> Iterator[memoryview]:
        """The messages of one copy. Whether it ended well is only known from the next result."""
        looked = False
        while True:
            count, data = self._connection.get_copy_data(1)
            if count > 0:
                looked = False
                yield data
            elif count < 0:
                return
            elif looked:
                self._await()
            else:
                # The next message mostly lies there already: asking whether it does, each time,
                # costs as much as to read it, and hands the interpreter to another thread.
                looked = True
                self._connection.consume_input()

    def _result(self, expected: pq.ExecStatus) -> pq.abc.PGresult:
        while self._connection.is_busy():
            self._await()
        result = self._connection.get_result()
        if result is None or result.status != expected:
            message = result.error_message if result is not None else b"no answer"
            raise PostgresCommandFailed(f"{_WHAT}: {last_words(message)}", hint=_HINT)
        return result

    def _await(self) -> None:
        self._patience.await_bytes(self._connection.socket, self._said, _WHAT)
        self._connection.consume_input()

    def _listen(self, notice: pq.abc.PGresult) -> None:
        message = notice.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        self._said.append((message or b"")[:2000])

    def _note_manifest(self, data: bytes) -> None:
        self._manifest.feed(data)
        self._manifest_bytes += len(data)

    def _add_manifest(self, stop: Lsn) -> Iterator[bytes]:
        """PostgreSQL's manifest as the tar's last member, where pg_verifybackup looks for it."""
        position, self._manifest_zst = self._manifest.finish()
        if position.stop != stop:
            raise PostgresCommandFailed(
                f"{_WHAT}: it ended at {stop}, but its manifest says {position.stop}"
            )
        yield last_member(_MANIFEST, self._manifest_bytes)
        content = zstandard.ZstdDecompressor().decompressobj()
        for begin in range(0, len(self._manifest_zst), _PIECE_BYTES):
            yield content.decompress(self._manifest_zst[begin : begin + _PIECE_BYTES])
        yield end_of_tar(self._manifest_bytes)
        self._position = position


def _command(server_version: int, label: str) -> bytes:
    """Without the server's wait for its archiver: it looks once a second, and at its own report.

    That all WAL stands in the repository is seen to before the backup exists.
    """
    quoted = label.replace("'", "''")
    if server_version >= _TAGGED_SINCE:
        options = "CHECKPOINT 'fast', WAIT false, TABLESPACE_MAP, MANIFEST 'yes'"
        return f"BASE_BACKUP (LABEL '{quoted}', {options})".encode()
    return f"BASE_BACKUP LABEL '{quoted}' FAST NOWAIT TABLESPACE_MAP MANIFEST 'yes'".encode()


def _archive_of(message: bytes) -> int | None:
    """Whose archive begins: ``base.tar``, or that of a tablespace, named by its OID."""
    name = message[1:].split(b"\0", 1)[0]
    stem = name.removesuffix(b".tar")
    if stem == b"base":
        return None
    if not stem.isdigit():
        raise TarDamaged(f"an archive named {name!r}")
    return int(stem)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
