"""Rules that run where `strict-labels` is set."""
