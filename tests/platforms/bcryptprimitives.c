/* bcryptprimitives.dll, which wine lacks before 9: what Rust's standard library asks it for. */
#include <stddef.h>

__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *bytes, unsigned long length);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned long part = length - at < 65536 ? (unsigned long)(length - at) : 65536;
        if (!SystemFunction036(bytes + at, part))
            return 0;
        at += part;
    }
    return 1;
}
