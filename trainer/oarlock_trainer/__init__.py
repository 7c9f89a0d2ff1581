"""Oarlock."""
