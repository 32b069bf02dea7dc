"""What pg_restore says is judged: expected errors are passed over, all others fail, and what is the
machine's fault is never the dump's.
"""

import io

import pytest

from kb_dr.adapters.load_errors import LoadErrors
from kb_dr.adapters.pg_restore import check_status
from kb_dr.domain.expected_errors import EXPECTED_ERRORS, why_expected
from kb_dr.domain.proof import Verdict
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import KbDrError, LoadFailed

_EXPECTED = (
    'could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"\n'
    "Command was: SET transaction_timeout = 0;\n"
)
_OTHER = (
    'could not execute query: ERROR:  relation "a\nb" does not exist\n'
    "LINE 1: insert into a values ('a secret');\n"
    "DETAIL:  Key (id)=(a secret) is there.\n"
    "Command was: INSERT INTO a VALUES ('a secret');\n\n\n"
)


def _heard(*errors: str, ignored: int | None = None) -> LoadErrors:
    heard = LoadErrors()
    text = "".join(f"pg_restore: error: {each}" for each in errors)
    if ignored is not None:
        text += f"pg_restore: warning: errors ignored on restore: {ignored}\n"
    heard.listen(io.BytesIO(text.encode()))
    return heard


def test_expected_errors_alone_are_passed_over_and_said_once() -> None:
    heard = _heard(_EXPECTED, _EXPECTED, ignored=2)

    check_status(1, heard)

    assert len(heard.notes) == 1


def test_the_first_other_error_fails_and_no_row_is_repeated() -> None:
    heard = _heard(_EXPECTED, _OTHER, _EXPECTED, ignored=3)

    with pytest.raises(LoadFailed) as failed:
        check_status(1, heard)
    assert str(failed.value) == 'load: ERROR: relation "a b" does not exist'


@pytest.mark.parametrize(
    ("message", "statement"),
    [
        ('unrecognized configuration parameter "other"', "SET transaction_timeout = 0;"),
        (
            'unrecognized configuration parameter "transaction_timeout"',
            "SET transaction_timeout = 0;\nCREATE TABLE a ();",
        ),
        ('schema "a" already exists', 'CREATE TABLE "schema";'),
        ("must be owner of extension a", "DROP EXTENSION a;"),
        ('relation "a" already exists', "CREATE TABLE a ();"),
    ],
)
def test_an_error_that_only_resembles_an_expected_one_is_a_failure(
    message: str, statement: str
) -> None:
    assert why_expected(message, statement) is None
    heard = _heard(
        f"could not execute query: ERROR:  {message}\nCommand was: {statement}\n", ignored=1
    )
    with pytest.raises(LoadFailed):
        check_status(1, heard)


def test_the_list_is_short_and_each_line_has_its_reason() -> None:
    assert len(EXPECTED_ERRORS) <= 5
    assert all(each.reason for each in EXPECTED_ERRORS)


@pytest.mark.parametrize(
    ("status", "errors", "ignored"),
    [
        (1, (), None),  # it says nothing
        (1, (_EXPECTED,), None),  # it did not come to its end
        (1, (_EXPECTED,), 2),  # of one it says nothing
        (0, (_EXPECTED,), None),
    ],
)
def test_a_status_that_does_not_agree_with_what_was_said_is_a_failure(
    status: int, errors: tuple[str, ...], ignored: int | None
) -> None:
    with pytest.raises(LoadFailed):
        check_status(status, _heard(*errors, ignored=ignored))


@pytest.mark.parametrize(
    "words",
    [
        'could not execute query: ERROR:  could not extend file "base/5": No space left on device',
        "could not execute query: FATAL:  terminating connection due to administrator command",
        "error returned by PQputCopyData: server closed the connection unexpectedly",
        'connection to server on socket "/x" failed: FATAL:  role "a" does not exist',
        'could not execute query: ERROR:  role "a" does not exist',
        'could not execute query: ERROR:  could not access file "$libdir/x": No such file',
        "a worker process died unexpectedly",
        "could not execute query: ERROR:  out of memory",
        "could not read from input file: Input/output error",
    ],
)
def test_the_fault_of_a_machine_leaves_the_copy_unjudged(words: str) -> None:
    with pytest.raises(KbDrError) as failed:
        check_status(1, _heard(f"{words}\nCommand was: CREATE TABLE a ();\n"))
    assert verdict_of(failed.value) is Verdict.NOT_PROVEN


def test_a_program_that_was_killed_leaves_the_copy_unjudged() -> None:
    with pytest.raises(LoadFailed) as failed:
        check_status(-9, _heard())
    assert verdict_of(failed.value) is Verdict.NOT_PROVEN


@pytest.mark.parametrize(
    "words",
    [
        "could not execute query: ERROR:  invalid byte sequence for encoding",
        "could not read from input file: end of file",
        'COPY failed for table "a": ERROR:  missing data for column "b"',
    ],
)
def test_the_fault_of_the_dump_is_its_own(words: str) -> None:
    with pytest.raises(LoadFailed) as failed:
        check_status(1, _heard(words + "\n"))
    assert verdict_of(failed.value) is Verdict.FAILED


def test_endless_words_are_read_in_bounded_memory() -> None:
    heard = _heard("could not execute query: ERROR:  x\nCommand was: " + "CREATE x\n" * 100_000)

    assert len(str(heard.unexpected)) < 1000
