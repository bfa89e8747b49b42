"""Rules about `LABEL`."""
