"""A result in memory, as a folder, as points and as pictures. Uses core and io."""
