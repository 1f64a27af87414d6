"""What Services mean: which backends each address leads to, and who owns an address."""
