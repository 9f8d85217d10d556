"""Images on disk, for people."""
