"""Texts, tables and figures that several commands share.

In reading order: `run_tables` (runs as tables), `plot_style` (figures fit for a paper), `evaluation_text` and
`evaluation_figures` (what `composer evaluate` says and draws).
"""
