"""Videos: what they are (probe), and their frames at a fixed rate (decode)."""
