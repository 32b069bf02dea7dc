"""Backs up a knowledge service and proves what can be restored."""

__version__ = "0.1.0"
