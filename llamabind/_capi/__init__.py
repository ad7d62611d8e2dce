"""llama.cpp's C interface for ctypes, with C's names. Importing it opens no library."""
