#!/bin/bash
# gzip, of a file into another. It knows nothing of being a specimen: what it made is checked afterwards
# (`gzip.sh FOLDER check`) against a run that is not moved.
cd "$1" || exit 1
if [[ $2 == check ]]; then
    if [[ -v SPOIL ]]; then
        truncate --size=-1 input.gz
    fi
    if ! gzip -9 --no-name --stdout input | cmp - input.gz; then
        echo "differs: what gzip made"
        exit 1
    fi
    echo well
    exit
fi
awk 'BEGIN { for (i = 1; i <= 300000; i++) print (i * 7919) % 1000003, i }' > input
printf '%s' $$ > ready
exec gzip -9 --no-name --keep input
