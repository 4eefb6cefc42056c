"""What a person sees and hears of a piece: its score, its sound, the page that plays it."""
