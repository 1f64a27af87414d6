class HarnessError(Exception):
    """The cluster cannot be made or asked; the text says what to do."""
