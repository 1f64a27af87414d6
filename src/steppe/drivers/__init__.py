"""All contact with the kernel: reads it into the state vocabularies, and applies changes."""
