"""What is measured of a trained network besides its loss and accuracy: `composer evaluate`."""
