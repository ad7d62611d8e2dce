"""Model files on disk and their settings."""
