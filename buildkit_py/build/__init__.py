"""A build from request to exported image: recall, context, the kinds of step, exporters."""
