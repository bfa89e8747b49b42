"""Rules that run only when a preset or `--select` names them; imported only then."""
