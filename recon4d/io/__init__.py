"""Reading videos and folders, writing and reading result folders, exporters."""
