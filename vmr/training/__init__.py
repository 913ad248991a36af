"""Training a run, its checkpoint, and predictions from it."""
