// Command tour types what a page shows, and compares what comes of it: the console
// blocks of the pages that it is given, in their order, each page in one shell.
//
// A line that begins with "$ " is typed, with those that follow it as long as each
// ends with a backslash or begins with ">"; the rest of the block is what it prints.
// A command that is shown to print nothing has to succeed, whatever it prints.
// Times, ages, ids and their like may differ, and "…" stands for anything, alone on
// a line for any lines. What a command only looks at takes its time to come: it is
// typed again until it prints what the page shows. A block after a line
// "<!-- not typed: REASON -->" is passed over.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	patience := flag.Duration("patience", time.Minute, "how long it may take until a command prints what the page shows")
	flag.Parse()
	for _, page := range flag.Args() {
		if err := visit(page, *patience); err != nil {
			fmt.Fprintln(os.Stderr, "tour:", err)
			os.Exit(1)
		}
	}
}

// visit types the steps of one page.
func visit(page string, patience time.Duration) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	shell, err := startShell()
	if err != nil {
		return err
	}
	defer shell.close()
	typed := steps(string(text))
	if len(typed) == 0 {
		return fmt.Errorf("%s shows nothing to type", page)
	}
	for _, step := range typed {
		fmt.Printf("%s:%d: %s\n", page, step.line, step.command)
		if err := shell.take(step, patience); err != nil {
			return fmt.Errorf("%s:%d: %w", page, step.line, err)
		}
	}
	return nil
}
