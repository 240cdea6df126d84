"""HTML pages of finished runs: views (read), text and charts, pages."""
