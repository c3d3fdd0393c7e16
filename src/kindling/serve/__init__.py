"""``serve``: an exported network behind an address, in a process without torch."""
