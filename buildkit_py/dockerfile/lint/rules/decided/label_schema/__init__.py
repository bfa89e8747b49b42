"""Rules that run where `label-schema` is set."""
