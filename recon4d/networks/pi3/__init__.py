"""pi3, which sees a whole chunk of frames at once."""
