"""One part of every kind that composer can be extended with; docs/extend.md walks through it."""

from mylab import composing, data, training

__all__ = ["composing", "data", "training"]
