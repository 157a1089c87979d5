"""The composition: a parent and its workers, and what a worker is made of."""
