// The Go runtime: goroutines on several threads, channels, preemption by signals, and a collected heap.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{tree(depth - 1), tree(depth - 1), 1}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.left.sum() + n.right.sum() + n.value
}

func differs(what string) {
	fmt.Println("differs:", what)
	os.Exit(1)
}

func main() {
	folder := os.Args[1]
	_, spoil := os.LookupEnv("SPOIL")
	numbers, squares := make(chan int), make(chan int)
	var workers sync.WaitGroup
	for i := 0; i < 50; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range numbers {
				if tree(6).sum() != 127 {
					differs("a tree")
				}
				squares <- number * number
			}
		}()
	}
	total := make(chan int)
	go func() {
		sum := 0
		for square := range squares {
			sum += square
		}
		total <- sum
	}()
	ready := filepath.Join(folder, "ready")
	if os.WriteFile(ready+".new", []byte(fmt.Sprint(os.Getpid())), 0o600) != nil ||
		os.Rename(ready+".new", ready) != nil {
		differs("no folder to write into")
	}
	given, expected := 0, 0
	for {
		if _, err := os.Stat(filepath.Join(folder, "end")); err == nil {
			break
		}
		for i := 0; i < 20; i++ {
			numbers <- given
			expected += given * given
			given++
		}
		time.Sleep(time.Millisecond)
	}
	if spoil {
		numbers <- 1
	}
	close(numbers)
	workers.Wait()
	close(squares)
	runtime.GC()
	if sum := <-total; sum != expected {
		differs(fmt.Sprint("the sum ", sum, " of ", given, " squares"))
	}
	fmt.Println("well")
}
