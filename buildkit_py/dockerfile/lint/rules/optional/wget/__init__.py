"""Rules about what `wget` is told."""
