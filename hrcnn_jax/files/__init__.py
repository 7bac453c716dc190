"""Files in and out: JPEG to codes, pictures to files, with their metadata."""
