"""What proves who somebody is: passwords, tokens, sessions, signatures, and the keys they hang on."""
