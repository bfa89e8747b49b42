"""Rules about what `dnf` is told."""
