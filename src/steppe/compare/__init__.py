"""Questions about sets of policies: equivalent, contained, redundant, conflicting.

Pure, like everything below it: clusters in, answers with a witness flow out. It stands above reach/
(whose ends it uses) and imports neither lint/, explain/ nor anything that does I/O.
"""
