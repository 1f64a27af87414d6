"""One suite that every fabric has to pass (test_contract.py)."""
