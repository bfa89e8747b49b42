"""Rules about `USER`."""
