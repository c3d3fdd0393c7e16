"""A run's folder, its checkpoints, and files that are written whole or not at all."""
