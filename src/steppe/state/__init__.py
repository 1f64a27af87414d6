"""The vocabularies of a node's tables, and the causes behind every entry."""
