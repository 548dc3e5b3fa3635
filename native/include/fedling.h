#ifndef FEDLING_H
#define FEDLING_H

/* The version of this library: "major.minor.patch". */
const char *fdl_version(void);

#endif
