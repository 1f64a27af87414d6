"""From desired and actual tables to ordered changes."""
