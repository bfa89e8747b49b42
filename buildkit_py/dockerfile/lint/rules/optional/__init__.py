"""Rules that run only when a preset or `--select` names them.

Those in a folder look at calls of a program, or have nothing to say to a file without that word.
"""
