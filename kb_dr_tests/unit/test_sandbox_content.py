"""What a sandbox is filled with: the same rows everywhere, and worth searching."""

import hashlib

import numpy as np
import pytest

from kb_dr.sandbox.content import DIMENSIONS, embedding, entries


def _digest(count: int) -> str:
    digest = hashlib.sha256()
    for entry in entries(count):
        digest.update(repr((entry.id, entry.organization_id, entry.title, entry.body)).encode())
        digest.update(entry.updated_at.isoformat().encode() + entry.embedding.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("count", [1, 999, 1000, 1001])
def test_the_same_number_gives_the_same_rows(count: int) -> None:
    assert _digest(count) == _digest(count)
    assert [entry.id for entry in entries(count)] == list(range(1, count + 1))


def test_another_number_of_batches_gives_other_rows_after_the_first() -> None:
    bodies = [entry.body for entry in entries(2500)]
    assert len(set(bodies)) == len(bodies)


def test_vectors_have_length_one_and_lie_in_clusters() -> None:
    vectors = np.array([entry.embedding for entry in entries(500)])
    assert vectors.shape == (500, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1)
    # The nearest is of the same topic; most others are not.
    assert likeness.max(axis=1).min() > 4 * np.abs(np.median(likeness))


def test_a_text_has_one_vector() -> None:
    assert np.array_equal(embedding("a question"), embedding("a question"))
    assert not np.array_equal(embedding("a question"), embedding("another"))
