"""What the API says, kept in the compiler: one feed a kind of object."""
