"""What Kindling costs beside plain PyTorch: one file a claim, ``python -m benchmarks`` for all of them."""
