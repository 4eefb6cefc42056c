"""What the runs of a sweep say, in tables, figures and words: `composer compare`. No torch."""
