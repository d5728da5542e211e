"""What images have to withstand while they are optimized; one file a transform."""
