"""Backs up a knowledge service and proves what can be restored."""
