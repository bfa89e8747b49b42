"""Rules about `ENTRYPOINT`."""
