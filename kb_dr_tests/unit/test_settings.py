"""Settings: every problem in one message, nothing secret in it, and .env.example tells all."""

import re
from pathlib import Path

import pytest

from kb_dr import settings as module
from kb_dr.cli.app import run
from kb_dr.domain.ping import WORKS
from kb_dr.errors import ConfigurationError
from kb_dr.settings import DirectoryLocation, S3Settings, load_settings
from kb_dr.wiring import codec

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_those_of_the_requirements() -> None:
    settings = load_settings({})

    assert settings.primary == DirectoryLocation(Path("backups").absolute())
    assert settings.backup_schedule == "0 2 * * *"
    assert settings.retention["primary"].daily_days == 30
    assert settings.objectives.rpo_seconds == 3600
    assert settings.objectives.backup_age_seconds == 26 * 3600


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            {"KB_DB_PORT": "port", "KB_DR_CHUNK_MIB": "65", "KB_BACKUP_SCHEDULE": "daily"}
        )

    for name in ("KB_DB_PORT", "KB_DR_CHUNK_MIB", "KB_BACKUP_SCHEDULE"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"KB_DB_HOST": "db.example", "KB_DR_DB_SSLMODE": "prefer"},
        {"KB_DR_REPOSITORY_URL": "s3://b", "KB_DR_REPOSITORY_ENDPOINT_URL": "http://s3.example"},
        {"KB_DR_REPOSITORY_URL": "s3://b", "AWS_ACCESS_KEY_ID": "only-half"},
        {"KB_DR_AGE_RECIPIENTS": "AGE-SECRET-KEY-1QQQ"},
        {"KB_DR_OFFSITE_URL": "ftp://somewhere"},
        {"KB_DR_RPO_SECONDS": "inf"},
        {"KB_DR_HEARTBEAT": "5"},
        {"KB_DR_REPOSITORY_URL": "s3://b/kb", "KB_DR_OFFSITE_URL": "s3://b/kb/"},
        {"KB_DR_REPOSITORY_URL": "/backups", "KB_DR_OFFSITE_URL": "/x/../backups/offsite"},
    ],
)
def test_what_would_be_unsafe_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(given)


@pytest.mark.parametrize(
    ("word", "expected"), [("on", True), ("off", False), ("'on'", True), ("", False)]
)
def test_a_switch_in_yaml_means_what_it_says(tmp_path: Path, word: str, expected: bool) -> None:
    file = tmp_path / "kb_dr.yaml"
    file.write_text(f"KB_DR_HEARTBEAT: {word}\n" if word else "KB_DB_PORT: 5433\n")

    assert load_settings({"KB_DR_CONFIG": str(file)}).heartbeat is expected


def test_no_secret_is_ever_printed() -> None:
    settings = load_settings(
        {
            "KB_DB_PASSWORD": "hush-1",
            "KB_DR_REPOSITORY_URL": "s3://b",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush-2",
        }
    )

    assert "hush" not in repr(settings)
    assert isinstance(settings.primary, S3Settings)
    assert settings.primary.secret_access_key is not None
    assert settings.primary.secret_access_key.reveal() == "hush-2"


def test_the_token_of_temporary_keys_goes_with_them_and_with_no_others() -> None:
    given = {
        "KB_DR_REPOSITORY_URL": "s3://a",
        "KB_DR_OFFSITE_URL": "s3://b",
        "KB_DR_OFFSITE_ACCESS_KEY_ID": "lasting",
        "KB_DR_OFFSITE_SECRET_ACCESS_KEY": "hush-1",
        "AWS_ACCESS_KEY_ID": "temporary",
        "AWS_SECRET_ACCESS_KEY": "hush-2",
        "AWS_SESSION_TOKEN": "hush-3",
    }
    settings = load_settings(given)

    assert isinstance(settings.primary, S3Settings)
    assert isinstance(settings.offsite, S3Settings)
    assert settings.primary.session_token is not None
    assert settings.primary.session_token.reveal() == "hush-3"
    assert settings.offsite.session_token is None
    assert "hush" not in repr(settings)


def test_a_secret_typed_where_a_recipient_belongs_is_not_echoed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"KB_DR_AGE_RECIPIENTS": "AGE-SECRET-KEY-1HUSH"})

    assert "HUSH" not in str(caught.value)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("KB_DB_NAME=from_file\nKB_DB_USER='from file'\n")

    settings = load_settings({"KB_DB_NAME": "from_environment"}, env_file=file)

    assert (settings.source.database, settings.source.user) == ("from_environment", "from file")


def test_a_password_file_open_to_others_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hush")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="0600"):
        load_settings({"KB_DR_DB_PASSWORD_FILE": str(file)})

    file.chmod(0o600)
    password = load_settings({"KB_DR_DB_PASSWORD_FILE": str(file)}).source.password
    assert password is not None
    assert password.reveal() == "hush"


def test_the_example_names_exactly_the_settings_there_are() -> None:
    pages = sorted(Path(module.__file__).parent.glob("*.py"))
    source = "\n".join(page.read_text() for page in pages)
    read = set(re.findall(r'"((?:KB_|AWS_)[A-Z0-9_]+)"', source))
    for reader, stem in (("_location", "stem"), ("_policy", "kept")):
        stems = re.findall(rf'{reader}\(reader, "(\w+)"', source)
        for ending in re.findall(rf'f"\{{{stem}\}}(_[A-Z0-9_]+)"', source):
            read |= {each + ending for each in stems}
        read -= set(stems)
    pings = {f"KB_DR_PING_{work.upper()}_URL" for work in WORKS}
    read |= pings | {f"{each}_FILE" for each in pings}
    secrets = re.findall(r'_secret\(reader, "(\w+)"', source)
    read |= {f"{each}_FILE" for each in secrets}

    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE)) == read


def test_the_example_itself_can_be_used() -> None:
    load_settings({}, env_file=ROOT / ".env.example")


def test_who_stands_in_the_wrong_directory_is_told_so_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as nowhere:
        codec(load_settings({}))
    (tmp_path / ".env").write_text("KB_DR_SERVICE=kb\n")
    with pytest.raises(ConfigurationError) as here:
        codec(load_settings({}))

    assert nowhere.value.hint.startswith("No file with settings was read")
    assert here.value.hint.startswith("Make a key")


def test_a_copy_to_nowhere_is_refused_before_the_backup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KB_DR_OFFSITE_URL", raising=False)

    assert run(["backup", "full", "--copy"]) == ConfigurationError.exit_code
    assert "offsite repository: none is configured" in capsys.readouterr().err
