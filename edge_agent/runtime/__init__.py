"""Channels, workers, supervision, child processes, systemd. Knows nothing of inspection."""
