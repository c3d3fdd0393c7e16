"""What lets a training be stopped at any time and go on as if it never had been."""
