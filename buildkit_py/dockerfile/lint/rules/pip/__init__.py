"""Rules about what `pip` is told."""
