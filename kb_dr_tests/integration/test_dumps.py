"""A logical dump holds exactly what its snapshot shows, and exists only when it is whole."""

from kb_dr_tests.dumped_service import DumpedService


def test_a_dump_says_what_it_is(dumped_service: DumpedService) -> None:
    manifest = dumped_service.stored.manifest

    assert manifest.id == dumped_service.backup_id
    assert manifest.is_dump
