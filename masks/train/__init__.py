"""Training of D2MIF: rendered clips, the front end's view of them, real data sets, the loop. Never needed to run."""
