"""What music holds before it is trained on: `composer explore`."""
