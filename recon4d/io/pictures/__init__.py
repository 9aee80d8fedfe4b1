"""Image files and folders of them: kinds, names, order, bit depth."""
