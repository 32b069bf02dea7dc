"""A listing by text must not read the whole folder to come to its first key."""

import pytest

from kb_dr.adapters.s3_listing import listing_plan


@pytest.mark.parametrize("number", ["000000010000000000000005", "0000000100000000000000FF"])
def test_a_wal_file_is_found_without_reading_all_that_were_archived_before_it(number: str) -> None:
    """Every push and fetch asks so: else each would cost more the longer the archive is."""
    prefix = f"wal/7/00000001/{number}-"
    older = f"wal/7/00000001/{int(number, 16) - 1:024X}-{'f' * 64}.zst.age"

    plan = listing_plan(prefix, "")

    assert plan.folder == "wal/7/00000001"
    assert plan.offset is not None
    assert older < plan.offset < prefix


@pytest.mark.parametrize("prefix", ["wal/7/00000001/", "full/", "proofs/kb-full-2/"])
def test_a_folder_is_listed_from_its_first_key(prefix: str) -> None:
    plan = listing_plan(prefix, "")

    assert (plan.folder, plan.offset) == (prefix.rstrip("/"), None)
