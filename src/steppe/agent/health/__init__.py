"""What the agent tells over HTTP of its own health and its Services'."""
