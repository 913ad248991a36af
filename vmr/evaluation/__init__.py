"""Scores of predicted spans, baselines that see neither video nor query, and the tables."""
