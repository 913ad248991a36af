"""Moments without training: sentences meet the actions that Kinetics' classifier sees in a video."""
