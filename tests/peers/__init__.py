"""Programs that nobody here wrote, started for a test and killed by it."""
