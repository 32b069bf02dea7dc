"""The names of the recovery family, spelled once."""

import dagster as dg

CONTROLS = dg.AssetKey(["recovery", "controls"])
RESTORE = dg.AssetKey(["recovery", "restore"])
DRILL = dg.AssetKey(["recovery", "drill"])
READINESS = dg.AssetKey(["recovery", "readiness"])

GROUP = "recovery"
