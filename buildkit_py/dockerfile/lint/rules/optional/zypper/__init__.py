"""Rules about what `zypper` is told."""
