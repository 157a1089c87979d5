"""One folder for each vendor's API, all of the same shape; a dialect never talks to another."""
