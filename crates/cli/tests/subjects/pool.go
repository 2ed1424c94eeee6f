// Goroutines, maps and the garbage collector.
package main

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
)

func work(line string) uint32 {
	sum := crc32.ChecksumIEEE([]byte(line))
	garbage := make([]string, 0)
	for step := 0; step < 300; step++ {
		garbage = append(garbage, fmt.Sprint(sum, step))
		sum = crc32.Update(sum, crc32.IEEETable, []byte(garbage[step]))
	}
	return sum
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	total, count := uint32(0), 0
	seen := map[uint32]int{}
	for {
		batch := make([]string, 0)
		for len(batch) < 10 && lines.Scan() {
			batch = append(batch, lines.Text())
		}
		if len(batch) == 0 {
			break
		}
		sums := make([]uint32, len(batch))
		var all sync.WaitGroup
		for at, line := range batch {
			all.Add(1)
			go func(at int, line string) {
				defer all.Done()
				sums[at] = work(line)
			}(at, line)
		}
		all.Wait()
		for _, sum := range sums {
			total = total*31 + sum
			seen[sum%97]++
			count++
		}
		if count%100 == 0 {
			fmt.Println(count, total)
		}
	}
	fmt.Println("end", count, total, seen[0], len(seen))
}
