"""Rows to what people read: curves, figures, tables, one page. Imports no torch, and matplotlib only when it draws."""
