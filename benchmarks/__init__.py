"""Measurements of speed and size, and of the models (`models/`)."""
