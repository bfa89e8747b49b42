"""The rules, one file each. The file's name is the rule's code, its docstring is its page.

    *.py                    run by default
    buildkit/*.py           the same; BuildKit's checks that hadolint does not have
    WORD/*.py               the same, for files that hold the word, in whatever case
    optional/*.py           run on demand, and in the presets of the tool they come from
    optional/WORD/*.py      the same, for files that hold the word
    decided/SETTING/*.py    run where a project decides something for them (settings.py)

What no file of a run needs is not imported.
"""
