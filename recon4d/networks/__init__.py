"""Networks: weights in, tensors out; none knows of videos. Uses core and weights."""
