"""From probabilities to masks with whole objects and borders on image edges."""
