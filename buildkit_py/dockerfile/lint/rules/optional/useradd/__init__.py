"""Rules about what `useradd` is told."""
