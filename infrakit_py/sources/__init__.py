"""Where what is declared comes from, when it is not the files that lie here."""
