// Package lines is how a driver is spoken to: a line in, a line out.
package lines

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
)

var output sync.Mutex

// Say writes a line.
func Say(format string, arguments ...any) {
	output.Lock()
	defer output.Unlock()
	fmt.Printf(format+"\n", arguments...)
}

// Refused says that something could not be done.
func Refused(err error) {
	Say("refused %s", strings.ReplaceAll(err.Error(), "\n", " "))
}

// Answer says that something was done, or why not.
func Answer(done string, err error) {
	if err != nil {
		Refused(err)
	} else {
		Say("%s", done)
	}
}

// Must ends the program when there is an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Each calls f with every line until standard input ends.
func Each(f func(line string)) {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<24)
	for input.Scan() {
		f(input.Text())
	}
}

// Record splits a line into partition and value.
func Record(line string) (int32, string) {
	partition, value, _ := strings.Cut(line, " ")
	return int32(Number(partition)), value
}

// Number reads a number.
func Number(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	Must(err)
	return number
}

// Assigned says which partitions a member has.
func Assigned(partitions map[int32]bool) {
	words := []string{}
	for partition := range partitions {
		words = append(words, strconv.Itoa(int(partition)))
	}
	sort.Strings(words)
	Say("assigned %s", strings.Join(words, ","))
}

// Names says names, in order.
func Names(what string, names []string) {
	sort.Strings(names)
	Say("%s %s", what, strings.Join(names, ","))
}
