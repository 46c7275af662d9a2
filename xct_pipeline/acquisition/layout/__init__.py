"""Scans in files of any layout: datasets by their names, recipes of facilities, and what a folder holds.

`source` names datasets, `stacks` makes frames of them, `angles`, `times` and `split` say where the stage was and when,
`described` puts a scan together. `recipes`, `walk` and `pairing` find all this in a folder.
"""
