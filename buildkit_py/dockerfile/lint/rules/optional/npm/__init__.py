"""Rules about what `npm` is told."""
