"""What can be learnt of a dataset: its losses and scores."""
