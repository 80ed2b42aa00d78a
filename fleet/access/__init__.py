"""Who may do what: roles, tenants, and the tokens that prove them. Nothing here knows of HTTP."""
