"""The commands of the command line, one a file. Each imports heavy packages only once it runs."""
