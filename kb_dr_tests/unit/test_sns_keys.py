"""SNS without keys says so in words."""

from pathlib import Path

import pytest

from kb_dr.adapters.channels.sns import SnsChannel
from kb_dr.errors import ChannelRefused
from kb_dr.settings.alerting import Sns
from kb_dr_tests.fakes import FakeClock


def test_no_keys_are_named_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    topic = Sns("arn:aws:sns:eu-west-1:123456789012:kb", "eu-west-1", "http://127.0.0.1:1")

    with pytest.raises(ChannelRefused, match="check topic kb of SNS: no keys of AWS were found"):
        SnsChannel(topic, FakeClock()).check()
