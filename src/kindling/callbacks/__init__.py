"""What touches screen and disk during a run."""
