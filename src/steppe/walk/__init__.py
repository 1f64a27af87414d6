"""A packet through the tables, step by step, each step with its cause."""
