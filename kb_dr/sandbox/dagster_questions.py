"""Questions to Dagster's webserver (GraphQL), and runs asked of it."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

from kb_dr.errors import SandboxError

ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.5

LOCATION = "kb_dr"
REPOSITORY = "__repository__"
BACKUP_ID_TAG = "kb_dr/backup_id"

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PipelineNotFoundError { message }
    ... on InvalidSubsetError { message }
  }
}
"""

_RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) {
    __typename
    ... on Run { runId status jobName tags { key value } }
  }
}
"""

_RUNS = """
query Runs($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    __typename
    ... on Runs { results { runId status jobName tags { key value } } }
  }
}
"""

_LOCATION = """
query { workspaceOrError { __typename ... on Workspace { locationEntries {
  name loadStatus
  locationOrLoadError { __typename ... on PythonError { message className } } } } } }
"""

_DAEMONS = """
query { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
"""

_NOT_THERE_YET = "DagsterUserCodeUnreachableError"
"""The code server does not listen yet: the webserver looks for it again each second."""

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class NoAnswer(SandboxError):
    """The webserver did not answer, or not with what was asked."""


def ask(url: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The ``data`` of one GraphQL answer; NoAnswer when there is none."""
    body = json.dumps({"query": query, "variables": variables or {}})
    address = urlsplit(url)
    if address.hostname is None:
        raise NoAnswer(f"ask {url}: not an address")
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answer = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"ask {url}: {error}") from error
    finally:
        connection.close()
    if not isinstance(answer, dict) or answer.get("errors") or not answer.get("data"):
        raise NoAnswer(f"ask {url}: {json.dumps(answer)[:2000]}")
    data: dict[str, Any] = answer["data"]
    return data


def webserver_answers(url: str) -> bool:
    """Whether the webserver answers a query."""
    try:
        ask(url, "query { version }")
    except NoAnswer:
        return False
    return True


def location_loaded(url: str) -> bool:
    """Whether it has loaded our definitions; SandboxError when they cannot be loaded."""
    try:
        workspace = ask(url, _LOCATION)["workspaceOrError"]
    except NoAnswer:
        return False
    entries = workspace.get("locationEntries", [])
    for entry in entries:
        found = entry["locationOrLoadError"] or {}
        if found.get("className") == _NOT_THERE_YET:
            return False
        if found.get("__typename") == "PythonError":
            raise SandboxError(f"load kb_dr.definitions: {found['message']}")
    return any(entry["name"] == LOCATION and entry["loadStatus"] == "LOADED" for entry in entries)


def daemons_healthy(url: str) -> bool:
    """Whether every daemon that is needed has sent a sign of life."""
    try:
        statuses = ask(url, _DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    except NoAnswer:
        return False
    needed = [status for status in statuses if status["required"]]
    return bool(needed) and all(status["healthy"] for status in needed)


def launch(url: str, job: str, *, partition: str | None = None) -> str:
    """Ask for a run of one of our jobs; its id. SandboxError when it is refused."""
    tags = [] if partition is None else [{"key": "dagster/partition", "value": partition}]
    if partition is not None:
        tags.append({"key": BACKUP_ID_TAG, "value": partition})
    answer = ask(
        url,
        _LAUNCH,
        {
            "params": {
                "selector": {
                    "repositoryLocationName": LOCATION,
                    "repositoryName": REPOSITORY,
                    "pipelineName": job,
                },
                "runConfigData": {},
                "executionMetadata": {"tags": tags},
            }
        },
    )["launchPipelineExecution"]
    if answer["__typename"] != "LaunchRunSuccess":
        raise SandboxError(f"launch {job}: {json.dumps(answer)[:1000]}")
    run_id: str = answer["run"]["runId"]
    return run_id


def wait_for_run(url: str, run_id: str, *, timeout_seconds: float) -> dict[str, Any]:
    """The run, once it has ended: ``runId``, ``status``, ``jobName`` and ``tags``.

    SandboxError when it has not ended in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        run: dict[str, Any] = ask(url, _RUN, {"id": run_id})["runOrError"]
        if run.get("status") in ENDED:
            return _with_plain_tags(run)
        if time.monotonic() > deadline:
            raise SandboxError(
                f"wait for run {run_id}: {run.get('status')} after {timeout_seconds:.0f} s"
            )
        time.sleep(POLL_SECONDS)


def launch_and_wait(
    url: str, job: str, *, partition: str | None = None, timeout_seconds: float = 600.0
) -> dict[str, Any]:
    """Ask for a run and wait for its end, good or bad."""
    return wait_for_run(url, launch(url, job, partition=partition), timeout_seconds=timeout_seconds)


def runs_of(url: str, job: str, backup_id: str) -> list[dict[str, Any]]:
    """The runs of one job for one backup, newest first."""
    wanted = {"pipelineName": job, "tags": [{"key": BACKUP_ID_TAG, "value": backup_id}]}
    found = ask(url, _RUNS, {"filter": wanted})["runsOrError"]
    return [_with_plain_tags(run) for run in found.get("results", [])]


def wait_for_run_of(
    url: str, job: str, backup_id: str, *, timeout_seconds: float = 600.0
) -> dict[str, Any]:
    """Wait until a run of this job for this backup was requested by someone, and has ended."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := runs_of(url, job, backup_id)):
        if time.monotonic() > deadline:
            raise SandboxError(f"wait for {job} of {backup_id}: nobody asked for it")
        time.sleep(POLL_SECONDS)
    return wait_for_run(url, found[0]["runId"], timeout_seconds=max(deadline - time.monotonic(), 1))


def back_up_now(url: str, *, timeout_seconds: float = 600.0) -> tuple[str, dict[str, Any]]:
    """Take a backup as a person on the page does; its id, and the run that took it."""
    named = launch_and_wait(url, "back_up_now", timeout_seconds=timeout_seconds)
    backup_id = named["tags"].get(BACKUP_ID_TAG)
    if named["status"] != "SUCCESS" or backup_id is None:
        raise SandboxError(f"run back_up_now: {named['status']}", hint="The page shows why.")
    return backup_id, wait_for_run_of(url, "backup_job", backup_id, timeout_seconds=timeout_seconds)


def _with_plain_tags(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}}
