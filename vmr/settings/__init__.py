"""What every section of settings is made of: its base, kinds of values, checks, and options of commands."""
