"""Questions for language models, made by the catalogue and the ranker's arithmetic, and their marks."""
