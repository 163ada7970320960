"""Move a site's images between storages: import, verify, switch, revert, export; find orphans.

``background`` copies files, in workers or in a command; its rows are the ledger. Here is what decides which
files are copied under which names, and what compares and changes the rows of a project.
"""
