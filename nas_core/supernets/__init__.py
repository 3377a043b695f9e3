"""Supernets: many architectures that share their weights, trained or pruned as one."""
