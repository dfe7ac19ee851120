// Command tell prints which build it is.
package main

import (
	"fmt"

	"galaxy.io/runtime-manager/pkg/version"
)

func main() { fmt.Println(version.Line()) }
