"""Parts for composer, registered when the package is imported."""

from mylab import parts as parts
