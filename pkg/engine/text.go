package engine

import (
	"strings"
	"unicode"
)

// Text is the end of what a game wrote, MaxText at most, as text: what is no
// UTF-8 or no character to be seen, but for tabs and ends of lines, is left out.
// A record could not hold it, and a terminal would obey it.
func Text(written []byte) string {
	written = written[max(0, len(written)-MaxText):]
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, string(written))
}

// Line is Text on one line, its words a space apart.
func Line(written []byte) string { return strings.Join(strings.Fields(Text(written)), " ") }
