"""How important the channels of a trained model are, and the model with its channels in that order."""
