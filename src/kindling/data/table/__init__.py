"""What a dataset of tables is made of: the file, its columns as features and targets, and the split of its rows."""
