"""Lifecycle rules of one bucket, in S3's words and in ours."""

from collections.abc import Sequence
from typing import Any

from kb_dr.adapters.s3_calls import CallFailed
from kb_dr.adapters.s3_client import S3Calls
from kb_dr.domain.lifecycle import LifecycleRule
from kb_dr.errors import RepositoryError, RepositoryRefused

_OUT_OF_REACH = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes of AWS whose objects are brought back in hours, not read."""


class S3Lifecycle:
    """The rules of one bucket that touch one repository in it."""

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls

    def rules(self) -> tuple[LifecycleRule, ...] | None:
        """Those in force; None where the store has no such thing. Tags play no part: kb-dr gives
        none, so a rule for objects with one touches nothing of it.
        """
        found = self._read()
        if found is None:
            return None
        read = (self._rule(each) for each in found if each.get("Status") == "Enabled")
        return tuple(rule for rule in read if rule is not None)

    def replace(self, rules: Sequence[LifecycleRule]) -> None:
        """Put these in the place of ours, leave others' as they stand, and look at the result."""
        found = self._read()
        what = f"set lifecycle rules of {self._calls.location.url}"
        if found is None:
            raise RepositoryError(
                f"{what}: the store has none", hint="`kb-dr retention apply` does without."
            )
        others = [each for each in found if not self._is_ours(each)]
        # Others' rules go back as they came, in whatever form that is.
        configuration: Any = {"Rules": others + [self._spelled(rule) for rule in rules]}
        try:
            self._calls.call(
                lambda client: client.put_bucket_lifecycle_configuration(
                    Bucket=self._calls.bucket,
                    LifecycleConfiguration=configuration,
                )
            )
        except CallFailed as failed:
            raise failed.answer.error(what) from None
        stands = {rule for rule in self.rules() or () if rule.made_here}
        if stands != set(rules):
            raise RepositoryError(
                f"{what}: the store holds others than were sent",
                hint="Look at the rules of the bucket before anything they remove is missed.",
            )

    def _read(self) -> list[dict[str, Any]] | None:
        """Every rule of the bucket as the store gives it; None where it has no such thing."""
        try:
            answer = self._calls.call(
                lambda client: client.get_bucket_lifecycle_configuration(Bucket=self._calls.bucket)
            )
        except CallFailed as failed:
            seen = failed.answer
        else:
            # rclone answers any question of a bucket with a listing, which has no rules in it;
            # a store that knows the question says 404 when there are none.
            return [dict(each) for each in answer["Rules"]] if answer.get("Rules") else None
        if seen.code == "NoSuchLifecycleConfiguration":
            return []
        if seen.is_not_known:
            return None
        error = seen.error(f"ask {self._calls.location.url} for its lifecycle rules")
        if isinstance(error, RepositoryRefused):
            error.hint = "Allow s3:GetLifecycleConfiguration."
        raise error

    @property
    def _mark(self) -> str:
        """What the ids of our rules begin with; another repository's in this bucket differ."""
        return f"kb-dr:{self._calls.location.prefix}:"

    def _is_ours(self, raw: dict[str, Any]) -> bool:
        return str(raw.get("ID", "")).startswith(self._mark)

    def _rule(self, raw: dict[str, Any]) -> LifecycleRule | None:
        """A rule in our words; None when it does not touch the repository."""
        chosen = raw.get("Filter", {})
        both = chosen.get("And", {})
        if "Tag" in chosen or both.get("Tags"):
            return None
        given = chosen.get("Prefix") or both.get("Prefix") or raw.get("Prefix") or ""
        here = self._calls.key("")
        if given.startswith(here):
            prefix = given[len(here) :]
        elif here.startswith(given):
            prefix = ""  # of all of it, and of more
        else:
            return None
        expiration = raw.get("Expiration", {})
        noncurrent = raw.get("NoncurrentVersionExpiration", {})
        archived = [
            each.get("Days", 0)
            for each in raw.get("Transitions", [])
            if each.get("StorageClass") in _OUT_OF_REACH
        ]
        ours = self._is_ours(raw)
        return LifecycleRule(
            str(raw.get("ID", "")).removeprefix(self._mark if ours else ""),
            prefix,
            expire_days=0 if "Date" in expiration else expiration.get("Days"),
            noncurrent_days=noncurrent.get("NoncurrentDays"),
            archive_days=min(archived, default=None),
            abort_days=raw.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
            remove_markers=bool(expiration.get("ExpiredObjectDeleteMarker")),
            made_here=ours,
        )

    def _spelled(self, rule: LifecycleRule) -> dict[str, Any]:
        raw: dict[str, Any] = {
            "ID": f"{self._mark}{rule.id}",
            "Status": "Enabled",
            "Filter": {"Prefix": self._calls.key(rule.prefix)},
        }
        if rule.expire_days is not None:
            raw["Expiration"] = {"Days": rule.expire_days}
        elif rule.remove_markers:
            raw["Expiration"] = {"ExpiredObjectDeleteMarker": True}
        if rule.noncurrent_days is not None:
            raw["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule.noncurrent_days}
        if rule.abort_days is not None:
            raw["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
        return raw
