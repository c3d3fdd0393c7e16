"""The one place that assembles a run: data, network, optimizer, callbacks, loggers and folder, to a Trainer."""
