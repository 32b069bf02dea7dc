"""Manifests small enough to hold thousands of them: for judging and showing, never for restoring.

A manifest as it is stored names every chunk and a thousand sampled rows of each critical table.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import TypeVar

from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.stored import StoredObject

LEAN_BYTES = 2048
"""What one takes in memory, about."""

_LEFT_OUT = "left out"
"""In place of a digest: it is that of nothing, so that nothing passes for what it belongs to."""

_MOST_SHARED = 1024

T = TypeVar("T", bound=Hashable)
_shared: dict[Hashable, object] = {}


def lean(stored: StoredManifest) -> StoredManifest:
    """The same backup, without what only a restore, a proof or a copy of it needs.

    One object stands for all its chunks: with their bytes together, and a digest that nothing has,
    so that a restore of it fails. Samples, settings and what is said of indexes are gone. Whoever
    goes on with a backup reads its manifest again: see catalog.whole().
    """
    manifest = stored.manifest
    source = manifest.source
    chunks, own, fingerprint = manifest.chunks, manifest.postgres_manifest, manifest.fingerprint
    return replace(
        stored,
        manifest=replace(
            manifest,
            engine=_share(manifest.engine),
            service=_share(manifest.service),
            org=_share(manifest.org),
            host=_share(manifest.host),
            source=replace(
                source,
                host=_share(source.host),
                database=_share(source.database),
                extensions={},
                schema_version=None,
                settings={},
                vectors=(),
                invalid_indexes=(),
                tablespaces=(),
            ),
            fingerprint=replace(fingerprint, tables=()),
            chunks=(_without_digest(chunks[0].key, manifest.stored_bytes),) if chunks else (),
            plain_sha256=_LEFT_OUT,
            postgres_manifest=own and _without_digest(own.key, own.size_bytes),
            compression=_share(manifest.compression),
            recipients=_share(manifest.recipients),
            tools={},
            notes=(),
        ),
    )


def _without_digest(key: str, size_bytes: int) -> StoredObject:
    return StoredObject(key, size_bytes, _LEFT_OUT, _LEFT_OUT)


def _share(value: T) -> T:
    """The one that is held already where another manifest said the same."""
    if len(_shared) >= _MOST_SHARED:
        _shared.clear()
    return _shared.setdefault(value, value)  # type: ignore[return-value]  # equal: of its type
