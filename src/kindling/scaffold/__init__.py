"""What writes files of a project: a new project, network or dataset, and its engine's updates. Needs no torch."""
