"""Plays policies in LIBERO: the official protocol, many simulators, one policy.

protocol    what an episode is, and how it differs from the official one
settings    what is evaluated, and how
play        episodes, the processes that simulate them, and one policy for all
log         finished episodes, one line each
results     figures and tables
analysis    how episodes fail, pairs of runs, where the time goes
report      the page of a run
"""
