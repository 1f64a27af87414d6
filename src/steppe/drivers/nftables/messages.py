"""The numbers of nf_tables' messages and of attributes that several modules here need
(linux/netfilter/nf_tables.h).
"""

from steppe.drivers import nfnetlink as nfnl

GETTABLE = nfnl.kind(nfnl.NFTABLES, 1)
GETCHAIN = nfnl.kind(nfnl.NFTABLES, 4)
NEWRULE = nfnl.kind(nfnl.NFTABLES, 6)
GETRULE = nfnl.kind(nfnl.NFTABLES, 7)
GETSET = nfnl.kind(nfnl.NFTABLES, 10)
NEWSETELEM = nfnl.kind(nfnl.NFTABLES, 12)
GETSETELEM = nfnl.kind(nfnl.NFTABLES, 13)
DELSETELEM = nfnl.kind(nfnl.NFTABLES, 14)
NEWGEN = nfnl.kind(nfnl.NFTABLES, 15)

TABLE = 1
"""NFTA_TABLE_NAME, and NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_ELEM_LIST_TABLE and so on: the
table's name has one number in the messages about all that is in it."""
ELEM_LIST_SET = 2
ELEM_LIST_ELEMENTS = 3
