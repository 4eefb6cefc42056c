"""MIDI files and the events made of them; knows neither torch nor configs of training.

In reading order: `events` (the events of a piece), `pieces` (the pieces of a corpus), `notes` (onset, pitch and
duration of notes), `midi` (files to events and back), `midi_bytes` (a check of the bytes of a file), `markings` (tempo,
time and key signatures), `rhythm` and `tonality` (descriptions of a piece), `prelude` (the music that is built in).
"""
