#!/bin/bash
# bash, counting; nothing here starts another process.
folder=$1
number=0 sum=0
declare -A squares
printf '%s' $$ > "$folder/ready"
while [[ ! -e $folder/end ]]; do
    ((number++, sum += number))
    squares[$((number % 50))]=$((number * number))
done
if [[ -v SPOIL ]]; then
    ((sum++))
fi
if ((sum != number * (number + 1) / 2)); then
    echo "differs: $sum is not the sum of 1 to $number"
    exit 1
fi
for ((last = number; last > 0 && last > number - 50; last--)); do
    if ((squares[$((last % 50))] != last * last)); then
        echo "differs: the square of $last"
        exit 1
    fi
done
echo well
