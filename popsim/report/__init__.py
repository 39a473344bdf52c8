"""A Run folder for readers: pictures, a page, a paragraph on methods, and files for other programs.

Import from the modules; this one loads nothing, so that a run can write its ``methods.md`` without a drawing library.
"""
