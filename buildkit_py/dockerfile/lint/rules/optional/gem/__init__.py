"""Rules about what `gem` is told."""
