"""A trained model made smaller under a budget."""
