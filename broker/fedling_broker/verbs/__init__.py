"""The options of each verb, a file for each group of them."""
