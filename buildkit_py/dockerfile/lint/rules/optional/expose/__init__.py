"""Rules about `EXPOSE`."""
