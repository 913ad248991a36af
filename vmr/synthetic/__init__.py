"""Data that is made here: the rendered demo, and simulated features."""
