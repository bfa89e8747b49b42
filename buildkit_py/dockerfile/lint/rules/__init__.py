"""The rules, one file each. The file's name is the rule's code, its docstring is its page.

Those here run by default, those in `optional/` on demand.
"""
