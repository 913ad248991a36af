"""Features of videos: clips, networks, extraction, storage, merging, importing."""
