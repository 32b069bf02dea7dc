"""The ways alerts leave by: one file for each, with what they share beside them."""
