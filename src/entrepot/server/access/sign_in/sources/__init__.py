"""Where people sign in besides built-in accounts: htpasswd files, LDAP, OpenID Connect; and CI systems."""
