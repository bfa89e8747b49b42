"""Docker's nouns. First form: one container in the foreground."""
