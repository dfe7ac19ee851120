package main

import (
	"fmt"
	"slices"
	"strings"
)

// table collects the figures of all rounds and prints their medians, the
// contenders side by side.
type table struct {
	contenders []string
	columns    []column
	rows       []string // in the order in which they were first added
	figures    map[figure][]float64
}

// column is one figure of each contender.
type column struct {
	title  string
	digits int
}

// figure is where a number stands in a table.
type figure struct {
	row       string
	column    int
	contender string
}

func newTable(contenders []string, columns ...column) *table {
	return &table{contenders: contenders, columns: columns, figures: map[figure][]float64{}}
}

// add adds what was measured once, in the order of the columns.
func (t *table) add(row, contender string, numbers ...float64) {
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	for i, n := range numbers {
		f := figure{row, i, contender}
		t.figures[f] = append(t.figures[f], n)
	}
}

const (
	labelWidth  = 22
	numberWidth = 7
	ratioWidth  = 6
)

func (t *table) print() {
	if len(t.rows) == 0 {
		return
	}
	titles, names := strings.Repeat(" ", labelWidth), strings.Repeat(" ", labelWidth)
	for _, c := range t.columns {
		width := t.width(c)
		titles += fmt.Sprintf("%*s", width, c.title)
		group := ""
		for _, contender := range t.contenders {
			group += fmt.Sprintf("%*s", numberWidth, contender)
		}
		if t.hasRatio() {
			group += fmt.Sprintf("%*s", ratioWidth, "ratio")
		}
		names += fmt.Sprintf("%*s", width, group)
	}
	fmt.Printf("\n%s\n%s\n", titles, names)
	for _, row := range t.rows {
		t.printRow(row)
	}
}

// printRow ends each column with the first contender's figure over the second's.
func (t *table) printRow(row string) {
	line := fmt.Sprintf("%-*s", labelWidth, row)
	for i, c := range t.columns {
		var numbers []float64
		group := ""
		for _, contender := range t.contenders {
			n := median(t.figures[figure{row, i, contender}])
			numbers = append(numbers, n)
			group += fmt.Sprintf("%*.*f", numberWidth, c.digits, n)
		}
		if t.hasRatio() {
			group += fmt.Sprintf("%*.2f", ratioWidth, numbers[0]/numbers[1])
		}
		line += fmt.Sprintf("%*s", t.width(c), group)
	}
	fmt.Println(line)
}

func (t *table) hasRatio() bool { return len(t.contenders) == 2 }

// width of a column: its numbers or its title, and a gap.
func (t *table) width(c column) int {
	numbers := len(t.contenders) * numberWidth
	if t.hasRatio() {
		numbers += ratioWidth
	}
	return max(numbers, len(c.title)) + 2
}
