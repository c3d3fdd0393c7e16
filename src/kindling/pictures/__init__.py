"""Numbers in, figures out; nothing here knows a Trainer."""
