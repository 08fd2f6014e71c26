"""Mutation testing: the tests to run for a mutant, and a summary of how many mutants they killed."""
