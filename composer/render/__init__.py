"""Extra: audio, pictures and pages of a MIDI file, for `composer render` and `composer report`.

In reading order: `audio` (a synthesizer), `pianoroll`, `player` (a page that plays pieces), `listening` (a piece as the
input of a player) and `media` (pictures and sound for TensorBoard).
"""
