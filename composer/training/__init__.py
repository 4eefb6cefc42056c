"""Training: Lightning's module and callback.

In reading order: `losses` (cross-entropy of three heads, the regularizers such as L1), `metrics`, `module` (the
LightningModule) and `callback` (checkpoints, signals, early stopping).
"""
