"""The outside world: a folder for each port; none imports another."""
