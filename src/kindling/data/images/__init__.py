"""What a dataset of image files is made of: the files in folders, their pixels, and the sets that read them."""
