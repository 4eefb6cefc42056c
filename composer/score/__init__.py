"""Extra: a MIDI file as a score, for `composer render`.

In reading order: `beats` and `meter` (where the bars are), `quantize` (note values), `parts` and `voices` (staves and
voices), `spelling` (names of pitches), `measures`, `musicxml` (the file) and `engrave` (pages).
"""
