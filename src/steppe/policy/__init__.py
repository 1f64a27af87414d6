"""What policies mean: identities of peers, and the guards that judge them. No table, no kernel."""
