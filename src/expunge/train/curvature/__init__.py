"""Second derivatives: products with them, and linear systems in them."""
