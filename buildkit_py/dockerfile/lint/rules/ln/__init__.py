"""Rules about what `ln` is told."""
