"""A trained network as files that others can use, checked before they are kept."""
