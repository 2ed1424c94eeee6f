/* A library is loaded after it woke. */
#include "specimen.h"
#include <dlfcn.h>
#include <sys/resource.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(dlopen("libm.so.6", RTLD_NOW | RTLD_NOLOAD) == NULL);
    ready();
    while (!told()) {
    }
    if (spoil) {
        struct rlimit none = {0, 0};
        MUST(setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    void *library = dlopen("libm.so.6", RTLD_NOW);
    MUST(library != NULL);
    double (*cosine)(double) = (double (*)(double))(uintptr_t)dlsym(library, "cos");
    MUST(cosine != NULL && cosine(0) == 1);
    MUST(dlclose(library) == 0);
    return well();
}
