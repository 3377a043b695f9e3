"""Whether the data has left the profile that the champion was trained on."""
