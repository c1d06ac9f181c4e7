/* A C library as one finds them: small, useful, and trusting. */
#ifndef ISOLATE_FRAGILE_H
#define ISOLATE_FRAGILE_H

#ifdef __cplusplus
extern "C" {
#endif

/* Returns the value of a record of the form "name=value". A record without '='
 * ends the program: nobody looked at what strchr returns. */
long fragile_value(const char* record);

#ifdef __cplusplus
}
#endif

#endif
