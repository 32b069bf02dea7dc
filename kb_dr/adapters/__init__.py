"""One vendor a file; each implements a port."""
