"""Models, weights and code as a shell names them."""
