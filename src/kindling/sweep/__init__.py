"""Many trainings of one kind, to find the options that reach the best score. Nothing here needs torch."""
