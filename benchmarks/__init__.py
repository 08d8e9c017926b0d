"""What `make bench` measures. What belongs here: measuring the product as it is; not making it faster."""
