"""What providers of clouds have in common, and that no vendor has a say in."""
