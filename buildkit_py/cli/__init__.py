"""pybuild, pyengine: the only place that prints or exits."""
