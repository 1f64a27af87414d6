"""Why a packet arrives or does not: its path step by step, each with the object behind it."""
