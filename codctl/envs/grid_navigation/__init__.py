"""Grid Navigation: cross a grid of hidden costs by rook moves, cheaply, in an exact number of rounds."""
