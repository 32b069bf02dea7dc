"""Whatever order notices, outages and kills come in: nothing is lost, and order is kept."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_dr.domain.message import Message, What
from kb_dr.domain.notice import State
from kb_dr_tests.fake_channels import FakeChannel, down
from kb_dr_tests.made_alerts import AlertSite, MemoryOutbox, notice

KEYS = ("run/one", "run/two", "run/three")


class Killed(BaseException):
    """The process is gone."""


def kill(message: Message) -> None:
    raise Killed


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["break", "mend"]), st.sampled_from(KEYS)),
        st.tuples(
            st.sampled_from(["up", "down", "kill before", "kill after"]),
            st.sampled_from(["slack", "pagerduty"]),
        ),
        st.tuples(st.sampled_from(["database", "deliver", "wait"]), st.just("")),
    ),
    max_size=25,
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, lossy=st.booleans())
def test_every_alert_is_opened_and_closed_on_every_channel_in_order(
    steps: list[tuple[str, str]], lossy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda seen: None)
    with tempfile.TemporaryDirectory() as directory:
        slack, pager = FakeChannel(looks=True), FakeChannel("pagerduty", groups=False)
        channels = {"slack": slack, "pagerduty": pager}
        database = MemoryOutbox()
        site = AlertSite(Path(directory), slack, pager, database=database if lossy else None)
        expected: dict[str, list[What]] = {key: [] for key in KEYS}
        for number, (what, on) in enumerate(steps):
            site.pass_time(seconds=1)
            at = (site.clock.now() - site.clock.now().replace(minute=0, second=0)).total_seconds()
            at += (site.clock.now().hour - 2) * 3600
            if what in ("break", "mend"):
                state = State.BROKEN if what == "break" else State.MENDED
                site.take(notice(on, state, at=at, kind="run_failed", event=f"{number}"))
                is_open = expected[on][-1:] == [What.OPENED]
                if is_open != (what == "break"):
                    expected[on].append(What.OPENED if what == "break" else What.RECOVERED)
            elif what == "database":
                database.down = not database.down
            elif what == "wait":
                site.pass_time(minutes=1)
            elif what == "deliver":
                site.deliver()
            else:
                channels[on].works()
                if what == "down":
                    channels[on].before = down()
                elif what == "kill before":
                    channels[on].before = kill
                elif what == "kill after":
                    channels[on].after = kill

        database.down = False
        for channel in channels.values():
            channel.works()
        for _ in range(3):
            site.pass_time(minutes=6)
            site.deliver()
        assert not [each for each in site.unsent() if each.state.waits]
        for channel in channels.values():
            for key in KEYS:
                heard = [each for each in channel.arrived if each.dedup_key == key]
                once = list({each.id: each for each in heard}.values())
                order = [w for each in once if (w := each.what) in (What.OPENED, What.RECOVERED)]
                assert order == expected[key], channel.name
        assert len(slack.ids) == len(set(slack.ids)), "it can be asked: each is shown once"
