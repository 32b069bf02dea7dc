"""The catalog's address: taken apart once, never with a password, never shown when it is wrong."""

from pathlib import Path

import pytest

from kb_dr.errors import ConfigurationError
from kb_dr.settings import CatalogSettings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        (
            "postgresql://ops@db1.example:6432/kb_catalog",
            CatalogSettings("db1.example", 6432, "kb_catalog", "ops", None, "verify-full"),
            "postgresql://ops@db1.example:6432/kb_catalog",
        ),
        (
            "postgres://ops@db1.example/kb?sslmode=require",
            CatalogSettings("db1.example", 5432, "kb", "ops", None, "require"),
            "postgresql://ops@db1.example:5432/kb",
        ),
        (
            "postgresql://o%40ps@[::1]/kb",
            CatalogSettings("::1", 5432, "kb", "o@ps", None, "prefer"),
            "postgresql://o@ps@[::1]:5432/kb",
        ),
        (
            "postgresql://ops@/kb?host=/run/postgresql&port=5433",
            CatalogSettings("/run/postgresql", 5433, "kb", "ops", None, "prefer"),
            "postgresql://ops@/kb?host=/run/postgresql&port=5433",
        ),
    ],
)
def test_an_address_is_taken_apart(url: str, expected: CatalogSettings, shown: str) -> None:
    settings = load_settings({"KB_DR_CATALOG_URL": url})

    assert settings.catalog == expected
    assert expected.url == shown


def test_without_an_address_there_is_no_catalog() -> None:
    assert load_settings({}).catalog is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ops:hunter2@db1/kb", "it holds a password"),
        ("postgresql://ops:@db1/kb", "it holds a password"),
        ("postgresql://ops@db1/kb?password=hunter2", "it holds a password"),
        ("mysql://ops@db1/hunter2", "not an address of PostgreSQL"),
        ("hunter2", "not an address of PostgreSQL"),
        ("postgresql://db1/hunter2", "no user"),
        ("postgresql://hunter2@db1", "no database"),
        ("postgresql://hunter2@db1:port/kb", "not an address"),
        ("postgresql://hunter2@[::1/kb", "not an address"),
        ("postgresql://ops@db1/kb?passfile=/hunter2", "parameters other than"),
        ("postgresql://ops@db1/kb?sslmode=prefer&x=hunter2", "parameters other than"),
        ("postgresql://ops@db1/kb?sslmode=disable", "in plain text"),
    ],
)
def test_what_cannot_be_used_is_refused_and_never_shown(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"KB_DR_CATALOG_URL: .*{said}") as caught:
        load_settings({"KB_DR_CATALOG_URL": url})

    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_the_password_is_not_read_before_the_catalog_is_opened(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "KB_DR_CATALOG_URL": "postgresql://ops@localhost/kb",
            "KB_DR_CATALOG_PASSWORD_FILE": str(tmp_path / "only-root-may-read-this"),
        }
    )

    assert settings.catalog is not None
    assert settings.catalog.password_file == tmp_path / "only-root-may-read-this"


def test_a_password_without_an_address_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no KB_DR_CATALOG_URL to go with it"):
        load_settings({"KB_DR_CATALOG_PASSWORD_FILE": str(tmp_path / "password")})
