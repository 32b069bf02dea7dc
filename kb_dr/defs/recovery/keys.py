"""The names of the recovery family, spelled once."""

import dagster as dg

CONTROLS = dg.AssetKey(["recovery", "controls"])

GROUP = "recovery"
