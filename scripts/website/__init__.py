"""Parts of `scripts/docs.py`: which files become pages, the players of the gallery, and the check of the built site."""
