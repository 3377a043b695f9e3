"""How one column becomes an array: fitted on training rows, written as JSON, the same when serving."""
