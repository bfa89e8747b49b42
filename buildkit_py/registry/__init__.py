"""A client of the OCI distribution specification 1.1: find, authenticate, transfer, verify."""
