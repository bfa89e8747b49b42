"""Rules about calls of `cd`."""
