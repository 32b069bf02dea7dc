"""The embedded environment of the demo and the tests."""
