#!/bin/bash
# sort, of a file that does not fit its memory, into a file. It knows nothing of being a specimen: what it
# made is checked afterwards (`sort.sh FOLDER check`) against a run that is not moved.
cd "$1" || exit 1
export LC_ALL=C
if [[ $2 == check ]]; then
    if [[ -v SPOIL ]]; then
        truncate --size=-1 sorted
    fi
    if ! sort input | cmp - sorted; then
        echo "differs: what sort made"
        exit 1
    fi
    echo well
    exit
fi
awk 'BEGIN { for (i = 1; i <= 300000; i++) print (i * 7919) % 1000003, i }' > input
mkdir scratch
printf '%s' $$ > ready
exec sort --buffer-size=1M --parallel=2 --temporary-directory=scratch --output=sorted input
