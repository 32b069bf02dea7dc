"""A whole file system is synced at once only where its errors are told."""

import os
from types import SimpleNamespace

import pytest

from kb_dr.adapters.sync_method import sync_settings


@pytest.mark.parametrize(
    ("release", "at_once"),
    [
        ("5.7.19-generic", False),
        ("4.19.0-27-amd64", False),
        ("5.8.0", True),
        ("6.1.0-28-amd64", True),
        ("10.0", True),
        ("unknown", False),
    ],
)
def test_the_kernel_has_to_tell_what_it_could_not_write(
    release: str, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))

    assert sync_settings() == ({"recovery_init_sync_method": "syncfs"} if at_once else {})
