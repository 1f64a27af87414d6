"""All contact with the kernel: drivers read tables back from it and apply changes to it."""
