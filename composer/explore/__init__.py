"""A description of a corpus before training, for `composer explore`.

In reading order: `measure` (figures of a corpus), `histograms`, `report_text`.
"""
