"""Raw annotation files to one table of moments."""
