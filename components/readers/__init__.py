"""Files of one format -> a table in memory, or an error that says what is wrong with them."""
