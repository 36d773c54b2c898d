"""What every command shares: options, progress, and files that are never half written.

commands      how commands end: one line and an exit code
options       command lines from config dataclasses
claims        a run holds its folder, and keeps its options
checks        bad values are named; array_checks: of arrays
records       types that dataclasses declare, of JSON and of constructors
files         whole or absent; swap: one folder in the place of another
json_files    read strictly; descriptions: under a hash; line_files: logs, line by line
arrays        npy and npz, no larger than their files
weight_files  folders of a description and weights
results       results.json
canonical     configs in a form that later versions keep
trees         trees of arrays by path
intervals     Wilson, McNemar
plots         pictures; terminal: progress bars and tables
"""
