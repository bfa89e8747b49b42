"""Rules that run where `trusted-registries` is set."""
