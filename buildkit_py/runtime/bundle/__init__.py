"""The runtime as an OCI runtime: a bundle's `config.json` carried out exactly."""
