"""All pairs at once: who reaches whom on which ports, by classes that no policy tells apart."""
