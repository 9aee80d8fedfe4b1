"""Folders with colour and depth: the layout of TUM RGB-D, and what capture apps leave."""
