"""`steppe lab probe`: real packets between every pair, and the source address each receiver saw."""
