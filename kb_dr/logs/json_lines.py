"""One JSON object a line, for programs that collect logs."""

import logging
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from kb_dr.logs import bound_ids


class JsonLines(JsonFormatter):
    """at, level, logger, message, service, the ids that are bound, and what ``extra`` gives."""

    def __init__(self, service: str) -> None:
        super().__init__("%(message)s", json_ensure_ascii=False)
        self._service = service

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        at = datetime.fromtimestamp(record.created, UTC)
        log_data["at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        if self._service:
            log_data["service"] = self._service
        log_data.update(bound_ids())
        given: dict[str, Any] = {}
        super().add_fields(given, record, message_dict)
        if "exc_info" in given:
            given["traceback"] = given.pop("exc_info")
        log_data.update({name: each for name, each in given.items() if name not in log_data})
