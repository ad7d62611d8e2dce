"""What people read: tables, progress bars, sizes and times, colours."""
