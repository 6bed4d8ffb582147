"""The providers that come with infrakit-py, one package each. They do not know one another."""
