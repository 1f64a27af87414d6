"""Table `inet steppe`: its form by way of libnftables, in process; its elements by nfnetlink.

library    the C library: text in, JSON out
render     the skeleton and elements as nft text
parse      what we render, read back from nft's JSON
intervals  prefixes that overlap, which the kernel's sets refuse
wire       elements as the bytes of nf_tables
elements   additions and deletions as one nfnetlink transaction
driver     Nft: makes the table what the skeleton says, and moves elements
"""
