"""Files of networks: which there are, how they are fetched, found and read safely. Uses core and settings."""
