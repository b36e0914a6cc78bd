"""What makes a step of the supernet fast; `ActiveModel` computes the same without it."""
