"""What `kill_campaign.py` is made of."""
