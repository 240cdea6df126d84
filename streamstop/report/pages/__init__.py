"""The pages themselves, written as HTML."""
