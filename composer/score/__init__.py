"""Extra: score engraving of a MIDI file, for `composer render`.

In reading order: `beats` and `meter` (beats and bars), `quantize` (note values), `parts` and `voices` (staves and
voices), `spelling` (names of pitches), `measures`, `musicxml` (the file) and `engrave` (pages).
"""
