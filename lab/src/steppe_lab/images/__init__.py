"""Built-in images: the names that manifests use, and the programs that the lab runs for them."""
