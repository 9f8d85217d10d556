"""Models that say how alike two sentences are."""
