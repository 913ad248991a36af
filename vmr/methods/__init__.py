"""The methods: the catalogue of them, and a file for each network. Importing the package does not import torch."""
