"""Measurements that back the claims of the README, one command each."""
