"""What lets a training be stopped at any time and resumed as if it never had been."""
