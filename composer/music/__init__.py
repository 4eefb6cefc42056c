"""MIDI files, events and notes; without torch and without the configs of training.

In reading order: `events` (the events of a piece), `pieces` (the pieces of a corpus), `notes` (onset, pitch and
duration of notes), `midi` (files to events and back), `midi_bytes` (the messages in the bytes of a file), `interchange`
(lists of notes, piano rolls, objects of other packages), `markings` (tempo, time and key signatures), `rhythm` and
`tonality` (descriptions of a piece), `prelude` (the built-in piece).
"""
