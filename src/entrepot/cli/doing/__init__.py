"""What commands do once their line is read. Nothing here loads click, so that `quick` can do without."""
