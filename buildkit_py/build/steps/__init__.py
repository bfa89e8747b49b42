"""One module per kind of step: how its result is made."""
