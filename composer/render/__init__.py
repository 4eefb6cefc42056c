"""Extra: audio, pictures and pages of a MIDI file, for `composer render` and `composer report`.

In reading order: `notes` (notes with their times), `audio` (a synthesizer), `pianoroll`, `player` (a page that plays),
`media` (what each format needs) and `listening` (measures of the sound).
"""
