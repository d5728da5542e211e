"""What units respond to among given images: examples, fields, stimuli."""
