"""What several test files share: models, contracts, searches."""
