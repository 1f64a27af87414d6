"""Table `inet steppe` by way of libnftables, in process.

library    the C library: text in, JSON out
render     the skeleton and elements as nft text
parse      what we render, read back from nft's JSON
intervals  prefixes that overlap, which the kernel's sets refuse
driver     Nft: makes the table what the skeleton says, and moves elements
"""
