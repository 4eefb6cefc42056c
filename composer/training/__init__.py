"""Training: loss, regularizers, metrics, Lightning's module, callbacks and Trainer.

In reading order: `losses` (cross-entropy of three heads), `regularizers` (L1 and others), `metrics`, `module` (the
LightningModule: steps and optimiser), `state` (what a checkpoint holds besides weights), `callbacks` (progress,
record, early stopping, test, checkpoints), `signals` and `trainer`.
"""
