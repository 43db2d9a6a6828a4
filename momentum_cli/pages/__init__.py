"""Reports as single HTML files, and the tables in them."""
