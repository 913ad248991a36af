"""Natural-language video moment retrieval: from raw videos to the CI-MHA tables."""

__version__ = "0.1.0"
