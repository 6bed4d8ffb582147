"""Plans, status and progress, for people as text and for programs as JSON."""
