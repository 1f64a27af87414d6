"""Pages in a real browser (Chromium, by Playwright): `make test-page`."""
