"""What every room knows: data types, geometry, stages on disk, errors, progress. Uses no other room."""
