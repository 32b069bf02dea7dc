"""The rows of a knowledge base: the same for the same number, and like the real thing.

Texts are made of a vocabulary by topic; vectors lie around one centre a topic, and differ in few
directions, as those of real models do. In 384 directions at random all are equally far apart: then
an index finds little, and less with every row that is added.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
ORGANIZATIONS = 25
_SEED = 20261120
_DIRECTIONS = 6
_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_BATCH = 1000

_TOPICS = {
    "incident review": "timeline cause impact alert rollback follow-up owner detection",
    "onboarding": "laptop account access mentor checklist first week handbook badge",
    "deployment": "release canary migration pipeline rollback image approval window",
    "billing": "invoice refund currency ledger reconciliation plan proration tax",
    "data model": "schema index constraint partition column type default key",
    "security": "token rotation least privilege audit secret scope session policy",
    "support": "ticket customer reply escalation workaround known issue severity",
    "search": "embedding recall ranking query tokenizer synonym cache latency",
    "storage": "bucket lifecycle replication version checksum archive quota region",
    "mobile": "push notification offline sync crash store review build signing",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of ``knowledge_entries``."""

    id: int
    organization_id: int
    title: str
    body: str
    embedding: NDArray[np.float32]
    updated_at: datetime


def entries(count: int) -> Iterator[Entry]:
    """``count`` entries, numbered from 1."""
    names = list(_TOPICS)
    for first in range(0, count, _BATCH):
        size = min(_BATCH, count - first)
        random = np.random.default_rng([_SEED, first])
        topics = random.integers(len(names), size=size)
        vectors = _vectors(topics, random)
        words = random.integers(0, 1 << 30, size=(size, 60))
        minutes = random.integers(0, 600 * 24 * 60, size=size)
        for row in range(size):
            name = names[int(topics[row])]
            yield Entry(
                id=first + row + 1,
                organization_id=int(words[row, 0]) % ORGANIZATIONS + 1,
                title=f"{name.capitalize()} note {first + row + 1}",
                body=_text(name, words[row]),
                embedding=vectors[row],
                updated_at=_BEGIN + timedelta(minutes=int(minutes[row])),
            )


def embedding(text: str) -> NDArray[np.float32]:
    """A vector for any text; the same text gives the same one."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector: NDArray[np.float32] = _vectors(
        np.array([seed % len(_TOPICS)]), np.random.default_rng(seed)
    )[0]
    return vector


def package_body(number: int) -> bytes:
    """The content of one package object."""
    return hashlib.sha256(f"package {number}".encode()).hexdigest().encode() * 64


def _text(topic: str, numbers: NDArray[np.int64]) -> str:
    vocabulary = _TOPICS[topic].split()
    words = [vocabulary[int(number) % len(vocabulary)] for number in numbers]
    return f"About {topic}: " + " ".join(words) + "."


def _vectors(topics: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float32]:
    """One vector for each topic given: near its centre, a little off in every direction."""
    centres, directions = _space()
    off = random.standard_normal((len(topics), _DIRECTIONS)) @ directions
    noise = random.standard_normal((len(topics), DIMENSIONS))
    return _unit(centres[topics] + 0.2 * off + 0.001 * noise)


@cache
def _space() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(_SEED)
    centres = random.standard_normal((len(_TOPICS), DIMENSIONS))
    directions = random.standard_normal((_DIRECTIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    return centres / np.linalg.norm(centres, axis=1, keepdims=True), directions


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return scaled
