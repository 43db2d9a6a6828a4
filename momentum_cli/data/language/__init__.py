"""Text: predicting the next token."""
