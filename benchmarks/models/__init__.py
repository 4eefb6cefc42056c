"""The figures of docs/article.md, docs/models.md and docs/benchmarks.md, by one command: `make benchmark-models`."""
