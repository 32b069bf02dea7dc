"""One verb a file; each takes ports and returns plain values."""
