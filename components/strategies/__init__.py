"""Strategies of other libraries, behind our contract."""
