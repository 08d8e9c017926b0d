"""The Feast repository: what the declared views look like to Feast, and the offline store that joins them."""
