"""Files that survive kills and tell of damage: atomic writing, HDF5, checksums, shards, records of what made a file."""
