package rtctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// outputText is what people read.
const outputText = "text"

// printerOf prints objects as data: one as it is, several as a list. It is nil
// where they are told as text.
func printerOf[T runtime.Object](format string) (func(out io.Writer, objects []T) error, error) {
	marshal := yaml.Marshal
	switch format {
	case outputText:
		return nil, nil
	case "yaml":
	case "json":
		marshal = func(object any) ([]byte, error) {
			content, err := json.MarshalIndent(object, "", "    ")
			return append(content, '\n'), err
		}
	default:
		return nil, fmt.Errorf("--output: must be text, json or yaml, is %q", format)
	}
	return func(out io.Writer, objects []T) error {
		var all any = objects[0]
		if len(objects) > 1 {
			list := &metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}}
			for _, object := range objects {
				list.Items = append(list.Items, runtime.RawExtension{Object: object})
			}
			all = list
		}
		content, err := marshal(all)
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		_, err = out.Write(content)
		return err
	}, nil
}

const (
	outputTable = "table"
	outputWide  = "wide"
)

func isTable(format string) bool { return format == outputTable || format == outputWide }

// tableOr prints tables, or an object as data.
func tableOr(format string) (printers.ResourcePrinter, error) {
	if isTable(format) {
		return printers.NewTablePrinter(printers.PrintOptions{Wide: format == outputWide}), nil
	}
	printer, err := genericclioptions.NewJSONYamlPrintFlags().ToPrinter(format)
	if err != nil {
		return nil, fmt.Errorf("--output: must be table, wide, json or yaml, is %q", format)
	}
	return printers.NewTypeSetter(scheme).ToPrinter(printer), nil
}

// oneLine is a text for people that comes from a game or an engine, without what
// would do something to their terminal.
func oneLine(text string) string {
	return printers.EscapeTerminal(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " "))
}
