package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	require.Equal(t, "turn 1\n\tüm [31mred", Text([]byte("turn 1\r\n\t\x00üm \xff\x1b[31mred")))
	long := Text([]byte(strings.Repeat("ü", MaxText)))
	require.LessOrEqual(t, len(long), MaxText)
	require.Equal(t, strings.Repeat("ü", MaxText/2), long)
	require.Equal(t, strings.Repeat("ü", MaxText/2-1)+"x", Text([]byte(strings.Repeat("ü", MaxText)+"x")), "no half a letter")
}

func TestLine(t *testing.T) {
	require.Equal(t, "turn 1 is lost", Line([]byte("\tturn 1\r\n is\x00  lost\n")))
	require.Empty(t, Line(nil))
}
