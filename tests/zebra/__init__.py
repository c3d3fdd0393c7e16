"""A project of one's own, as test_own_project hands it to the engine."""
