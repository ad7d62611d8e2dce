// Compiles if the flags turn AMX on.
#ifndef __AMX_INT8__
#error "no AMX with these flags"
#endif
