"""Natural-language video moment retrieval: from raw videos to the CI-MHA tables."""
