"""Data planes: siblings that turn what policies and Services mean into table entries."""
