package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachCodeHasAClassInOrder(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	require.NoError(t, err)
	var declared []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Code") && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				code, err := strconv.Unquote(value.Value)
				require.NoError(t, err)
				declared = append(declared, code)
			}
		}
		return true
	})
	var listed []string
	for _, c := range Codes {
		listed = append(listed, c.Code)
		require.Equal(t, c.Class, ClassOf(c.Code))
	}
	require.Equal(t, declared, listed)
	require.Len(t, listed, 16)
	require.Equal(t, ClassSuccess, ClassOf(""))
	require.Equal(t, ClassService, ClassOf("new_trouble"))
}
