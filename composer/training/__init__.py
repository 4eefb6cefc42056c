"""Training: loss, regularizers, metrics, Lightning's module, callbacks and Trainer.

In reading order: `losses` (cross-entropy of three heads), `regularizers` (L1 and others), `metrics`, `optimizers`,
`schedules` (learning rates), `module` (the LightningModule), `state` (what a checkpoint holds besides weights),
`callbacks` (progress, record, early stopping, test, checkpoints), `signals`, `named_callbacks` and `loggers`
(Lightning's, chosen by name) and `trainer`.
"""
