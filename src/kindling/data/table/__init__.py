"""What the datasets of tables need."""
