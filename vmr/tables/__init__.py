"""The table of results: rows, runs, notes, effects, and the text of it."""
