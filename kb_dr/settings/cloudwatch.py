"""Amazon CloudWatch: whether metrics and logs go there, and where that is."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from kb_dr.settings.alerting import AlertSettings, Sns
from kb_dr.settings.hosts import is_local
from kb_dr.settings.reader import Reader
from kb_dr.settings.secret import Secret


@dataclass(frozen=True, slots=True)
class CloudWatchSettings:
    """One account in one region."""

    on: bool
    """Whether backups and restores put what became of them there by themselves."""
    region: str
    endpoint_url: str | None
    topic_arn: str | None
    """Whom its alarms tell; an alarm can only tell a topic of its own region."""
    access_key_id: str | None
    secret_access_key: Secret | None
    """None with None: the AWS chain (instance profile, web identity)."""
    session_token: Secret | None


def read_cloudwatch(reader: Reader, alerting: AlertSettings) -> CloudWatchSettings:
    """CloudWatch in the settings; its topic is that of the channel ``sns``."""
    topic = alerting.channels.get("sns")
    arn, home = (topic.topic_arn, topic.region) if isinstance(topic, Sns) else (None, None)
    region = reader.text("KB_DR_CLOUDWATCH_REGION", home or reader.text("AWS_REGION", "us-east-1"))
    if home is not None and region != home:
        reader.problem("KB_DR_CLOUDWATCH_REGION", repr(region), f"{home}, where the topic is")
    key = reader.text("AWS_ACCESS_KEY_ID", "")
    secret = reader.text("AWS_SECRET_ACCESS_KEY", "")
    token = reader.text("AWS_SESSION_TOKEN", "")
    given = bool(key and secret)
    return CloudWatchSettings(
        on=reader.switch("KB_DR_CLOUDWATCH", default=False),
        region=region,
        endpoint_url=_endpoint(reader, "KB_DR_CLOUDWATCH_ENDPOINT_URL"),
        topic_arn=arn,
        access_key_id=key if given else None,
        secret_access_key=Secret(secret) if given else None,
        session_token=Secret(token) if given and token else None,
    )


def _endpoint(reader: Reader, name: str) -> str | None:
    found = reader.text(name, "")
    if not found:
        return None
    seen = urlsplit(found)
    if seen.scheme not in ("http", "https") or not seen.hostname or seen.username:
        reader.problem(name, "not an address", "https://host:port")
    elif seen.scheme == "http" and not is_local(seen.hostname):
        reader.problem(name, "plain text to another machine", "https://…")
    return found
