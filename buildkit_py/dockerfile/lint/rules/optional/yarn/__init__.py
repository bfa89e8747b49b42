"""Rules about what `yarn` is told."""
