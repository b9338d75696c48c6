"""What is told about finished runs."""
