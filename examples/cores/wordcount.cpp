// Counts words: each line of the output is a word, a tab and how often it came, most frequent
// first. A word is a run of letters (ASCII, lower-cased), digits or bytes above 127.
//
// Exceptions must not leave the three functions, so worker_run_job catches them all.
#include <algorithm>
#include <cctype>
#include <exception>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "farcall_core.h"

namespace {

std::string answer;

bool in_word(unsigned char byte)
{
    return std::isalnum(byte) || byte > 127;
}

std::string count_words(const char *text, std::size_t size)
{
    std::map<std::string, unsigned long> counts;
    std::string word;
    for (std::size_t i = 0; i <= size; i++) {
        if (i < size && in_word(static_cast<unsigned char>(text[i]))) {
            word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
        } else if (!word.empty()) {
            counts[word]++;
            word.clear();
        }
    }

    std::vector<std::pair<std::string, unsigned long>> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto &a, const auto &b) { return a.second > b.second; });
    std::string lines;
    for (const auto &entry : sorted)
        lines += entry.first + '\t' + std::to_string(entry.second) + '\n';
    return lines;
}

} // namespace

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    try {
        answer = count_words(static_cast<const char *>(data), size);
    } catch (const std::exception &error) {
        std::cerr << "wordcount: " << error.what() << '\n';
        return 1;
    }
    *outsize = answer.size();
    *outdata = &answer[0];
    return 0;
}

void worker_free_outdata(uint64_t, void *)
{
    answer.clear();
}
