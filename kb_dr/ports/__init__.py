"""The whole outside world, a page a subject.

Each protocol is implemented in kb_dr/adapters (and by a fake in kb_dr_tests/fakes.py); the
contracts in kb_dr_tests/contracts hold every implementation to the words written here.
"""

from kb_dr.ports.alerting import AlertRecords, Channel, Outbox, OutboxSession
from kb_dr.ports.basics import Clock, Progress, Readable, Writable
from kb_dr.ports.bucket import Bucket
from kb_dr.ports.catalog import Catalog, CatalogReader, CatalogWriter
from kb_dr.ports.cloudwatch import CloudWatch
from kb_dr.ports.deadman import Pinger, WatchMark
from kb_dr.ports.dump import (
    DatabaseServer,
    DumpLoader,
    DumpProgram,
    DumpSource,
    DumpStream,
    FrozenSource,
)
from kb_dr.ports.load import LoadTarget
from kb_dr.ports.restored import (
    Inspection,
    PostgresHost,
    RestoreDamager,
    RestoredServer,
    ScratchSpace,
    ServerInspector,
)
from kb_dr.ports.service import ReplaceJournal, ServiceControl, ServiceDatabase, StandingClusters
from kb_dr.ports.source import (
    BaseBackupProgram,
    BaseBackupStream,
    Heart,
    HeartbeatTable,
    RunningWalReceiver,
    SourceLock,
    SourceServer,
    WalReceiver,
)
from kb_dr.ports.storage import HEADER_BYTES, Codec, Repository
from kb_dr.ports.whole_file import NewDirectory, NewFile, WholeFiles

__all__ = [
    "HEADER_BYTES",
    "AlertRecords",
    "BaseBackupProgram",
    "BaseBackupStream",
    "Bucket",
    "Catalog",
    "CatalogReader",
    "CatalogWriter",
    "Channel",
    "Clock",
    "CloudWatch",
    "Codec",
    "DatabaseServer",
    "DumpLoader",
    "DumpProgram",
    "DumpSource",
    "DumpStream",
    "FrozenSource",
    "Heart",
    "HeartbeatTable",
    "Inspection",
    "LoadTarget",
    "NewDirectory",
    "NewFile",
    "Outbox",
    "OutboxSession",
    "Pinger",
    "PostgresHost",
    "Progress",
    "Readable",
    "ReplaceJournal",
    "Repository",
    "RestoreDamager",
    "RestoredServer",
    "RunningWalReceiver",
    "ScratchSpace",
    "ServerInspector",
    "ServiceControl",
    "ServiceDatabase",
    "SourceLock",
    "SourceServer",
    "StandingClusters",
    "WalReceiver",
    "WatchMark",
    "WholeFiles",
    "Writable",
]
