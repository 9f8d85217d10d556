"""Printers: templates and data in, PDF files out."""
