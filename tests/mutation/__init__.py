"""Mutation testing: which tests are to notice a changed module, and how many of the changes they have noticed."""
