"""The nftables data plane: a fixed skeleton of chains, and elements in its sets and maps."""
