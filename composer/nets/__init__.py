"""Networks that predict the next event.

In reading order: `network` (three one-hot channels, a body, three heads), `recurrent` (the LSTM and GRU body),
`transformer` (the attention body), `attentive` (an LSTM that attends to its window), `stepping` (event by event for
composing), `build` (the config to a network).
"""
