"""What a run is asked: its options, declared once, from and to text. Uses core."""
