"""One HTML file, and the same table for a terminal, from runs and their evaluations. No torch.

``load`` reads and checks, ``report`` writes the page, ``rows`` makes the table's text.
"""
