"""Features made from sentences alone, for comparing methods without any video."""
