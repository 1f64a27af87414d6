"""`steppe verify`: which packets tell whether the network does as promised, and what they told."""
