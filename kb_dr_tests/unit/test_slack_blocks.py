"""What a message looks like in Slack: read at a glance, and never refused for its form."""

import json
from datetime import UTC, datetime

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from kb_dr.adapters.channels.slack_blocks import blocks, notification
from kb_dr.domain.message import Message, What
from kb_dr.domain.severity import Severity
from kb_dr_tests.made_messages import made_message
from kb_dr_tests.sinks.slack_rules import problem_of

WORDS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="&<>😀\ud800\n`|", max_size=400),
    st.sampled_from(["x" * 5000, "&" * 3001, "😀" * 2000, "<!channel>", "", " \n"]),
)
MESSAGES = st.builds(
    Message,
    id=WORDS,
    dedup_key=WORDS,
    what=st.sampled_from(What),
    kind=st.just("rpo_holds"),
    severity=st.sampled_from(Severity),
    service=WORDS,
    title=WORDS,
    happened=WORDS,
    means=WORDS,
    do=WORDS,
    at=st.just(datetime(2026, 11, 28, tzinfo=UTC)),
    alert_id=WORDS,
    opened_at=st.one_of(st.none(), st.just(datetime(2026, 11, 27, tzinfo=UTC))),
    lasted_seconds=st.one_of(st.none(), st.floats(0, 1e9)),
    runbook_url=st.one_of(WORDS, st.sampled_from(["https://x/" + "&" * 5000, "https://x/a|b>c"])),
    run_url=st.one_of(WORDS, st.just("https://x/runs/1")),
    facts=st.lists(st.tuples(WORDS, WORDS), max_size=14).map(tuple),
    lines=st.lists(WORDS, max_size=40).map(tuple),
)


def words(message: Message) -> str:
    """All texts of its blocks."""
    found = []
    for block in blocks(message):
        texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        # Plain text makes no mentions.
        found += [each["text"] for each in texts if each and each["type"] == "mrkdwn"]
    return "\n".join(found)


@given(MESSAGES)
@settings(max_examples=80, deadline=None, phases=[Phase.generate])
def test_whatever_is_said_slack_takes_it(message: Message) -> None:
    made = blocks(message)

    assert problem_of(made) is None
    json.dumps(made).encode()
    assert all(Block.parse(block) is not None for block in made)
    mentions = words(message).count("<!channel>")
    assert mentions == (1 if message.what is What.ESCALATED else 0)
    assert 0 < len(notification(message)) <= 1000


def test_slacks_own_models_find_nothing_wrong() -> None:
    made = blocks(made_message(happened="x" * 4000, lines=("y" * 600,) * 20))

    for block in made:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()


def test_an_alert_says_all_a_person_needs() -> None:
    message = made_message()
    said = words(message)

    header = blocks(message)[0]["text"]["text"]
    assert header == "🔴 CRITICAL kb: More would be lost than is allowed"
    for each in (
        "5400 s of commits", "A disaster now would lose", "`kb-dr wal audit`",
        "<https://docs.example/monitoring.md#rpo_holds|Runbook>",
        "<https://dagster.example/runs/42|Run>", "16.0 min", "since 2026-11-28 03:00:00Z",
        "`kb-dr alerts ack a1b2`", "*copy*\noffsite",
    ):  # fmt: skip
        assert each in said


def test_each_severity_and_its_end_have_a_light_of_their_own() -> None:
    def light(**changes: object) -> str:
        return str(blocks(made_message(**changes))[0]["text"]["text"])[0]

    lights = [light(severity=each) for each in Severity] + [light(what=What.RECOVERED)]

    assert lights == ["🔴", "🟠", "🔵", "🟢"]


def test_what_is_over_asks_for_nothing() -> None:
    said = words(made_message(what=What.RECOVERED, means="", do=""))

    header = blocks(made_message(what=What.RECOVERED))[0]["text"]["text"]
    assert header == "🟢 kb: back to normal: More would be lost than is allowed"
    assert "alerts ack" not in said
    assert "What to do" not in said


def test_an_alert_that_lasts_calls_everybody_in_the_channel() -> None:
    said = words(made_message(what=What.ESCALATED))

    assert "<!channel> It is broken for 16.0 min, and nobody has acknowledged it." in said


def test_nothing_that_was_seen_becomes_a_mention_or_a_link() -> None:
    said = words(made_message(happened="<!here> <https://evil.example|x> a & b", do=""))

    assert "&lt;!here&gt; &lt;https://evil.example|x&gt; a &amp; b" in said


def test_a_long_text_is_cut_between_characters() -> None:
    [text] = [
        block["text"]["text"]
        for block in blocks(made_message(happened="&" * 4000))
        if "What happened" in json.dumps(block)
    ]

    assert text.endswith("&amp;…")
    assert 2990 < len(text) <= 3000


def test_a_path_to_the_runbook_is_shown_though_it_is_no_link() -> None:
    said = words(made_message(runbook_url="docs/monitoring.md#rpo_holds", run_url=""))

    assert "Runbook: `docs/monitoring.md#rpo_holds`" in said


def test_a_long_list_ends_with_how_many_are_left() -> None:
    lines = tuple(f"alert {number}: {'x' * 480}" for number in range(400))
    said = words(made_message(what=What.GROUPED, lines=lines))

    shown = said.count("• alert")
    assert shown >= 150
    assert f"and {400 - shown} more" in said
