"""Rules about what `sudo` is told."""
