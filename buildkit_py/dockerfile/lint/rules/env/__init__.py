"""Rules about `ENV`."""
