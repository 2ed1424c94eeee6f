# bash counting, without a child.
declare -A by_end
sum=0
count=0
while read -r number; do
    ((count += 1, sum += number))
    last=${number: -1}
    ((by_end[$last] += 1))
    for ((step = 0; step < 40; step++)); do ((sum = (sum * 31 + step) % 1000000007)); done
    ((count % 100)) || echo "$count $sum"
done
for last in 0 1 2 3 4 5 6 7 8 9; do echo "$last ${by_end[$last]}"; done
echo "end $count $sum"
