"""What a place for content is: the protocols every place implements, verification, graphs, a fake."""
