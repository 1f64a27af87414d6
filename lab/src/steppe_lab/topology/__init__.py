"""Which hosts a lab has, how they are wired, and the steps that wire them."""
