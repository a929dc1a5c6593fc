"""What clients say and are told, whichever API they speak: a translator for each, and one form between them."""
