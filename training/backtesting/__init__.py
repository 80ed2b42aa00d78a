"""A detector fitted on some recordings, and what it says of others, with exactly what serves.

`recordings` reads files, `histories` orders their rows, `specification` says what they support, `bundle` fits,
`scoring` judges, `measuring` compares with baselines, `page` shows; `injection` and `cross_validation` put faults in.
"""
