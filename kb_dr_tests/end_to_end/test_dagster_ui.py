"""In a browser, over real programs: the family is shown, and its light tells the truth.

`KB_DR_SCREENSHOTS=docs/images pytest kb_dr_tests/end_to_end` renews the pictures of the docs.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ControlOutcome, ControlRun, Damage
from kb_dr.domain.proof import Check, Outcome, Proof, Verdict
from kb_dr.operations import check_restored
from kb_dr.sandbox.dagster_questions import (
    launch_and_wait,
    wait_for_run,
)
from kb_dr_tests.end_to_end import launchpad
from kb_dr_tests.end_to_end.dead_dagster import asked_of_prometheus
from kb_dr_tests.end_to_end.pages import (
    ENTRIES,
    WAIT_SECONDS,
    Pages,
    ProvenBackup,
    eventually,
    follow,
    picture,
    read,
)
from kb_dr_tests.end_to_end.told import Told
from kb_dr_tests.postgres_servers import ask_single_user
from kb_dr_tests.sinks.ping_sink import PingSink

WATCH_PAGE = "/assets/recovery/point?view=checks&checkDetail=newest_backup_is_young"
CHECK_PAGE = "/assets/postgres/backup?view=checks&checkDetail=restore_proven"

pytestmark = pytest.mark.timeout(900)


def proofs_of(pages: Pages, backup: ProvenBackup) -> tuple[Proof, ...]:
    return pages.installation.proofs(BackupId.parse(backup.id))


def test_the_asset_graph_shows_the_family(pages: Pages, page: Page, backup: ProvenBackup) -> None:
    read(
        page,
        # One group: with more than one on a page Dagster folds them up.
        f"{pages.url}/locations/kb_dr/asset-groups/postgres/lineage",
        *("backup", "offsite_copy", "restore_proof", "wal_archive", "offsite_wal"),
        "100% filled",
    )

    picture(page, "graph")


def test_the_page_of_a_proof_shows_what_was_read_and_reached(
    pages: Pages, page: Page, backup: ProvenBackup
) -> None:
    proof = proofs_of(pages, backup)[-1]
    assert proof.reach is not None

    seen = read(
        page,
        pages.partition("restore_proof", backup.id),
        *(backup.id, "PROVEN", backup.digest, "offsite (s3://kb-backups-b/default)"),
        *("reached_lsn", str(proof.reach.reached_lsn), "reached_timeline", "all phases"),
    )

    for phase in proof.phases:
        assert phase.name in seen
    picture(page, "proof")


def test_a_verifier_that_does_not_see_damage_voids_the_light_until_it_sees_again(
    pages: Pages, page: Page, backup: ProvenBackup, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before anything was red: what is void refutes no older FAILED, and that would be shown.
    eventually(lambda: pages.light(backup.id) is True, what="the light is green")
    name = BackupId.parse(backup.id)

    def controls() -> ControlRun:
        return pages.installation.run_controls(
            name, "primary", SilentProgress(), damages=[Damage.ROWS_DROPPED]
        )

    with monkeypatch.context() as blinded:
        blinded.setattr(
            check_restored, "_rows", lambda *_: Check("rows_as_recorded", Outcome.PASSED, "blind")
        )
        assert [each.outcome for each in controls().results] == [ControlOutcome.BLIND]
    eventually(lambda: pages.light(backup.id) is False, what="the light is red")
    read(page, pages.url + CHECK_PAGE, "void", "Failed")
    picture(page, "void")

    assert [each.outcome for each in controls().results] == [ControlOutcome.GOOD]
    assert pages.light(backup.id) is False, "who knows when the verifier was mended"
    again = launch_and_wait(pages.url, "verify_job", partition=backup.id)
    assert again["status"] == "SUCCESS"
    eventually(lambda: pages.light(backup.id) is True, what="the light is green again")


def test_a_flipped_byte_turns_the_lights_red_and_everybody_is_told_and_of_a_whole_copy_again(
    pages: Pages, page: Page, backup: ProvenBackup, told: Told
) -> None:
    eventually(lambda: pages.light(backup.id) is True, what="the light is green")
    read(page, pages.url + CHECK_PAGE, "proven to restore from the offsite copy")
    picture(page, "proven-green")
    chunk = pages.chunk_offsite(backup.id)
    whole = chunk.read_bytes()
    middle = len(whole) // 2

    told.forget()
    chunk.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    try:
        failed = launch_and_wait(pages.url, "verify_job", partition=backup.id)
        assert failed["status"] == "FAILURE"
        assert proofs_of(pages, backup)[-1].verdict is Verdict.FAILED
        eventually(lambda: pages.light(backup.id) is False, what="the light is red")
        read(page, pages.url + CHECK_PAGE, "the offsite copy failed", "Failed")
        picture(page, "proven-red")
        assert launch_and_wait(pages.url, "watch_job")["status"] == "SUCCESS"
        read(page, pages.url + WATCH_PAGE, "a proof of it FAILED", "newest full backup in offsite")
        picture(page, "watch-red")
        told.wait_for("restore_proven", backup.id, failed["runId"])
        told.wait_for("newest_backup_is_young", backup.id)
        severities = {e.severity for e in told.of("restore_proven", backup.id) if e.severity}
        assert severities == {"critical"}
    finally:
        chunk.write_bytes(whole)

    again = launch_and_wait(pages.url, "verify_job", partition=backup.id)
    assert again["status"] == "SUCCESS"
    eventually(lambda: pages.light(backup.id) is True, what="the light is green again")
    told.wait_for("restore_proven", backup.id, over=True)
    assert not told.of("it is not looked at any more", over=True)
    told.show_in_slack(page, "restore_proven", backup.id)
    picture(page, "slack-alert")


def test_the_archive_of_a_healthy_source_has_no_gap(pages: Pages, backup: ProvenBackup) -> None:
    audited = launch_and_wait(pages.url, "wal_audit_job")

    assert audited["status"] == "SUCCESS"
    assert all(audit.passed for audit in pages.installation.audit_wal("primary"))


def test_the_launchpad_shows_a_plan_unless_told_otherwise(
    pages: Pages, page: Page, backup: ProvenBackup, place: Path
) -> None:
    launchpad.open_launchpad(pages, page)
    assert launchpad.DRY_RUN in page.inner_text("body")
    into = place / "planned"
    launchpad.fill_in(page, action=launchpad.DRY_RUN, into=into)

    run_id = launchpad.launch(page)

    assert wait_for_run(pages.url, run_id, timeout_seconds=WAIT_SECONDS)["status"] == "SUCCESS"
    seen = read(page, f"{pages.url}/runs/{run_id}", "the plan:", "dry run: nothing was changed")
    for text in ("asked for", "latest", backup.id, str(into), "will reach", "on timeline 1"):
        assert text in seen
    assert not into.exists()
    launchpad.show_only(page, "plan")
    picture(page, "restore-plan")
    read(page, f"{pages.url}/assets/recovery/restore", "reachable", backup.id, str(into))


def test_without_the_confirmation_nothing_can_be_launched(
    pages: Pages, page: Page, place: Path
) -> None:
    launchpad.open_launchpad(pages, page)

    launchpad.fill_in(page, action=launchpad.UNCONFIRMED, into=place / "unconfirmed")

    eventually(
        lambda: 'Missing required config entry "confirm_target"' in page.inner_text("body"),
        what="the Launchpad says what is missing",
    )
    assert launchpad.launch_button(page).is_disabled()


def test_a_restore_from_the_launchpad_brings_the_rows_back(
    pages: Pages, page: Page, backup: ProvenBackup, place: Path, postgres_programs: PostgresPrograms
) -> None:
    into = place / "data"
    launchpad.open_launchpad(pages, page)
    launchpad.fill_in(page, action=launchpad.execute(into), into=into, copy="offsite")

    run_id = launchpad.launch(page)

    assert wait_for_run(pages.url, run_id, timeout_seconds=WAIT_SECONDS)["status"] == "SUCCESS"
    read(page, f"{pages.url}/runs/{run_id}", "fetch and unpack", "replay", "reached", "next_steps")
    picture(page, "restore-run")
    said = ask_single_user(
        postgres_programs, into, "select count(*) from knowledge_entries", "show archive_mode"
    )
    (entries,) = re.findall(r'count = "(\d+)"', said)
    assert int(entries) >= ENTRIES
    assert 'archive_mode = "off"' in said


def test_a_restore_that_is_terminated_while_it_fetches_leaves_nothing(
    pages: Pages, page: Page, backup: ProvenBackup, place: Path
) -> None:
    into = place / "terminated"
    launchpad.open_launchpad(pages, page)
    launchpad.fill_in(page, action=launchpad.execute(into), into=into, copy="primary")

    with launchpad.store_that_hangs_once_a_restore_begins(pages.directory, into) as hangs:
        run_id = launchpad.launch(page)
        assert hangs.wait(WAIT_SECONDS)
        read(page, f"{pages.url}/runs/{run_id}", "fetch and unpack: 0.0 KiB of")
        launchpad.terminate(page)
        ended = wait_for_run(pages.url, run_id, timeout_seconds=WAIT_SECONDS)
        assert ended["status"] == "CANCELED"
        eventually(lambda: not launchpad.work_areas(into), what="the work area is removed")

    read(page, f"{pages.url}/runs/{run_id}", f"terminated: nothing was put into {into}")
    launchpad.show_only(page, "terminat")
    picture(page, "restore-cancel")
    assert not into.exists()
    assert sorted(each.name for each in place.iterdir() if "terminated" in each.name) == []


def test_a_drill_leaves_its_report_on_the_page(
    pages: Pages, page: Page, backup: ProvenBackup
) -> None:
    drilled = launch_and_wait(pages.url, "disaster_recovery_drill")
    assert drilled["status"] == "SUCCESS"
    watched = launch_and_wait(pages.url, "readiness_job")
    assert watched["status"] == "SUCCESS"

    (drill,) = pages.installation.drills()
    assert drill.passed
    read(page, f"{pages.url}/assets/recovery/drill", drill.id, "PROVEN", "rto_seconds")
    page.get_by_text("[Show Markdown]").last.click()
    shown = page.get_by_role("dialog").last
    eventually(
        lambda: f"Recovery drill {drill.id}: PASSED" in shown.inner_text(),
        what="the report is shown",
    )
    assert "RTO by phase" in shown.inner_text()
    shown.get_by_text(f"Recovery drill {drill.id}").scroll_into_view_if_needed()
    picture(page, "drill-report")
    read(
        page,
        f"{pages.url}/assets/recovery/readiness?view=checks&checkDetail=a_passed_drill_is_recent",
        f"drill {drill.id} from {drill.copy} was passed",
    )


def test_a_proof_leads_back_to_all_it_read_and_a_backup_forward_to_its_proofs(
    pages: Pages, page: Page, backup: ProvenBackup, point: ProvenBackup
) -> None:
    (proof,) = proofs_of(pages, point)
    assert proof.reach is not None
    start = pages.installation.find_backup(BackupId.parse(point.id)).manifest.wal.start
    wal = f"{start} to {proof.reach.reached_lsn}"

    read(
        page,
        pages.partition("restore_proof", point.id),
        *("from this proof back to", point.digest, "s3://kb-backups-b/default"),
        *("its base", backup.id, backup.digest[:12], "the WAL it replayed", wal),
    )
    picture(page, "lineage")
    follow(page, "offsite", "offsite_copy", point.id, point.digest)
    follow(page, backup.id, "needed_by", backup.digest, point.id)
    follow(page, wal, "offsite_wal", "wal_archive")
    follow(page, "see how it stands now", "copies_and_standing", proof.id)

    read(page, pages.partition("backup", point.id), "copies_and_standing", proof.id, backup.id)
    follow(page, "what it read and reached", "from this proof back to", proof.id)


def test_the_plan_of_retention_is_told_with_its_reasons(
    pages: Pages, page: Page, backup: ProvenBackup, point: ProvenBackup
) -> None:
    read(
        page,
        f"{pages.url}/assets/repository/retention",
        *("primary_plan", backup.id, "keep", "quarterly of"),
        f"parent of {point.id}, which is kept",
    )
    picture(page, "retention")


def test_the_integrity_report_and_its_picture_are_on_the_page(
    pages: Pages, page: Page, point: ProvenBackup
) -> None:
    assert launch_and_wait(pages.url, "integrity_report_job")["status"] == "SUCCESS"
    (report,) = pages.installation.reports(days=1)

    read(page, f"{pages.url}/assets/repository/integrity_report", report.id, "proven_share_of")
    page.get_by_text("[Show Markdown]").first.click()
    shown = page.get_by_role("dialog").last
    eventually(lambda: "Integrity of kb" in shown.inner_text(), what="the report is shown")
    assert point.id in shown.inner_text()
    drawn = shown.get_by_role("img", name="recoverable window")
    eventually(lambda: drawn.evaluate("each => each.naturalWidth") > 0, what="it is drawn")
    drawn.scroll_into_view_if_needed()
    picture(page, "integrity-report")


def test_readiness_is_one_page_with_its_plots(
    pages: Pages, page: Page, backup: ProvenBackup
) -> None:
    assert launch_and_wait(pages.url, "readiness_job")["status"] == "SUCCESS"

    read(page, f"{pages.url}/assets/recovery/readiness", "verdict", "rto_seconds", "rpo_seconds")
    page.get_by_text("[Show Markdown]").first.click()
    shown = page.get_by_role("dialog").last
    eventually(lambda: "Promised and measured" in shown.inner_text(), what="the page is shown")
    assert "RTO: last proven restore" in shown.inner_text()
    drawn = shown.get_by_role("img", name="trends")
    eventually(lambda: drawn.evaluate("each => each.naturalWidth") > 0, what="it is drawn")
    shown.get_by_role("heading").first.scroll_into_view_if_needed()
    picture(page, "readiness")


def test_ctrl_c_ends_everything_and_a_lost_database_is_filled_from_the_repositories(
    pages: Pages, page: Page, backup: ProvenBackup, point: ProvenBackup
) -> None:
    assert pages.left_over() != []

    assert pages.interrupt() == 0
    eventually(lambda: pages.left_over() == [], what="nothing of it runs any more")

    pages.lose_the_database()
    pages.start()
    eventually(
        lambda: pages.light(backup.id) is True and pages.light(point.id) is True,
        what="both lights are green again",
    )
    read(page, pages.url + CHECK_PAGE, "proven to restore from the offsite copy", point.id)
    picture(page, "rebuilt")
    proof = proofs_of(pages, point)[-1]
    read(page, pages.partition("restore_proof", point.id), "from this proof back to", proof.id)


def test_a_dead_dagster_is_missed_by_the_switch_and_by_prometheus(
    pages: Pages, switch: PingSink, tmp_path: Path
) -> None:
    before = len(switch.pings("watch"))
    assert launch_and_wait(pages.url, "watch_job")["status"] == "SUCCESS"
    eventually(lambda: len(switch.pings("watch")) > before, what="the switch is told of the watch")
    assert switch.state("watch", period=3600, grace=3600) == "up"

    pages.kill()

    told = len(switch.pings("watch"))
    with asked_of_prometheus(pages.env_file, tmp_path) as prometheus:
        eventually(
            lambda: (
                prometheus.finds("kb_dr_watch_last_success_timestamp_seconds")
                and prometheus.finds('ALERTS{alertname="KbDrWatchDead", alertstate="firing"}')
            ),
            what="the rule fires on a watch that is old",
        )
    eventually(lambda: switch.state("watch", period=1, grace=1) == "down", what="it is missed")
    assert len(switch.pings("watch")) == told
