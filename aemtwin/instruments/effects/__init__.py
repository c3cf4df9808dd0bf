"""What an instrument does to the truth: pure functions."""
