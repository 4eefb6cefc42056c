"""Training: Lightning's module and callback.

In reading order: `losses` (cross-entropy of three heads), `regularizers` (L1 and others), `metrics`, `module` (the
LightningModule) and `callback` (checkpoints, signals, early stopping).
"""
