"""What a run shows and writes for people."""
