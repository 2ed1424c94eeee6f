// An exception thrown after it woke is caught where that was prepared before, and everything between is
// destroyed in order.
#include "specimen.h"
#include <stdexcept>
#include <string>
#include <vector>

static std::vector<int> destroyed;

struct Noted {
    int number;
    ~Noted() { destroyed.push_back(number); }
};

static void dive(int depth) {
    Noted noted{depth};
    if (depth == 0) {
        ready();
        while (!told()) {
        }
        throw std::runtime_error(spoil ? "another" : "as it was to be");
    }
    dive(depth - 1);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    try {
        dive(20);
        MUST(!"it was thrown");
    } catch (const std::runtime_error &caught) {
        MUST(std::string(caught.what()) == "as it was to be");
    }
    MUST(destroyed.size() == 21);
    for (int i = 0; i <= 20; i++) {
        MUST(destroyed[i] == i);
    }
    return well();
}
