"""Rules about `HEALTHCHECK`."""
