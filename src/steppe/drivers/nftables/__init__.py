"""Table `inet steppe`: made by way of libnftables, in process; read and filled by nfnetlink.

library    the C library: text in
render     the skeleton and elements as nft text
intervals  prefixes that overlap, which the kernel's sets refuse
fields     values as bytes, and back
wire       elements as the bytes of nf_tables, and back
elements   additions and deletions as one nfnetlink transaction
dump       what the kernel has: the table's form, and elements
expected   the form that the skeleton's table has in the kernel
driver     Nft: makes the table as in the skeleton, adds and deletes elements
"""
